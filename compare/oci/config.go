package oci

import (
	"encoding/json"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Config is what is to run.
type Config struct {
	Root        string   // directory with the root file system, absolute
	ReadOnly    bool     // whether it is that in the container
	Args, Env   []string // of the process
	Dir         string   // its working directory
	HostNetwork bool     // instead of a network of its own, in which there is only a loopback that is down
	Mounts      []Mount
}

// A Mount is a file or a directory of the host that is seen in the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// writeConfig writes the bundle's configuration.
func writeConfig(bundle string, c Config, cgroup string) error {
	text, err := json.Marshal(specification(c, cgroup, os.Geteuid(), os.Getegid()))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o600)
}

// capabilities are the ones that runtimes give by default.
var capabilities = []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}

// Paths of /proc and /sys that say too much of the host, or change it (the same as in the bundles that runtimes make).
var (
	maskedPaths = []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/sys/firmware", "/proc/scsi"}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// specification makes what a runtime's own "spec" makes, with the Config's differences.
func specification(c Config, cgroup string, uid, gid int) *specs.Spec {
	s := &specs.Spec{
		Version: "1.0.2", // which each runtime knows
		Root:    &specs.Root{Path: c.Root, Readonly: c.ReadOnly},
		Process: &specs.Process{
			Args: c.Args, Env: c.Env, Cwd: c.Dir, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: capabilities, Effective: capabilities, Permitted: capabilities},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Hostname: "container",
		Mounts:   mounts(c, uid != 0),
		Linux: &specs.Linux{
			MaskedPaths: maskedPaths, ReadonlyPaths: readonlyPaths,
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace}},
		},
	}
	if !c.HostNetwork {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
	}
	if uid != 0 {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(uid), Size: 1}}
		s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(gid), Size: 1}}
	} else {
		s.Linux.CgroupsPath = cgroup // an ordinary user may make none
	}
	return s
}

func mounts(c Config, rootless bool) []specs.Mount {
	pts := []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}
	sysfs := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
	if rootless {
		if c.HostNetwork {
			// The network's owner alone may mount a sysfs.
			sysfs = specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
		}
	} else {
		pts = append(pts, "gid=5")
	}
	list := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc"},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: pts},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		sysfs,
	}
	if hasCgroups() {
		list = append(list, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
	}
	for _, m := range c.Mounts {
		options := []string{"bind", "rw"}
		if m.ReadOnly {
			options[1] = "ro"
		}
		list = append(list, specs.Mount{Destination: m.Target, Type: "none", Source: m.Source, Options: options})
	}
	return list
}
