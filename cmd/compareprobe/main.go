// Command compareprobe runs in the places that govmm compare compares. make build puts it into govmm-compare.
package main

import "govmm/compare/probe"

func main() { probe.Main() }
