// Package compare puts a virtual machine beside containers and the host itself: the same root file system, the same command, claim by claim.
//
// # Places
//
// A place is where commands run: the host, a virtual machine by `govmm run`, a container by an OCI runtime. What a command sees and does in it is
// told by the probe (package compare/probe), one program that is the same in all of them. Whatever comes out of a place is bounded and not believed.
//
// # Claims
//
// A claim has a probe: what to run in each place, what must be seen if the claim holds, and what the probe cannot show. Nothing that could harm the
// host is run in a container or on the host; there the probe looks at what would stand in the way.
//
// # Nothing is left
//
// Everything that a run makes lies in one temporary directory, and each process, container and cgroup is registered before it is made. The end of the
// context, by a signal too, ends what runs and removes it all.
package compare
