package agent

// Where the guest finds what it needs, in its root file system.
const (
	Dir      = ".govmm"
	InitPath = Dir + "/init"      // this program
	SpecPath = Dir + "/spec.json" // a Spec
)

// ConsoleDevice is the virtio console in the guest.
const ConsoleDevice = "/dev/hvc0"

// A Spec is a command and what is around it.
type Spec struct {
	Args     []string // the command; one without a slash is looked for in PATH
	Env      []string // KEY=VALUE
	Dir      string   // working directory; it is made if it is not there. Empty: /
	User     string   // NAME|UID[:GROUP|GID]; empty: root
	Hostname string
	Terminal bool // the command gets a terminal, by which its errors come as output
	Network  *Network
}

// A Network is addresses for eth0, as text: 10.0.2.15/24, 10.0.2.2. Without DNS the root file system's own resolv.conf counts.
type Network struct{ Address, Gateway, DNS string }
