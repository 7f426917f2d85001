// Package oci runs commands in containers by an OCI runtime, such as runc or crun: it writes a bundle (the OCI runtime specification's config.md), runs it, and removes
// it with all that the runtime has made.
//
// # What is left
//
// A container's state, its bundle and its control group have places that are chosen here, not by the runtime, so that they are found and removed also when the
// runtime failed, hung or was killed half way.
package oci
