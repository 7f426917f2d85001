// Command guestinit is the init of govmm run's guests. make build puts it into govmm.
package main

import "govmm/agent/guest"

func main() { guest.Main() }
