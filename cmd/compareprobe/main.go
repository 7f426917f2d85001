// Command compareprobe says what it sees of the machine that it runs on, or does work there. govmm compare runs it in virtual machines, in containers and on the host.
package main

import "govmm/compare/probe"

func main() { probe.Main() }
