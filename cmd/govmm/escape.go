package main

// Console escapes, as QEMU and screen have them: Ctrl-A, then a letter.
const ctrlA = 0x01

type escapeCommand int

const (
	escapeNone escapeCommand = iota
	escapeQuit
	escapeHelp
)

const escapeHelpText = "Ctrl-A X  end the guest\nCtrl-A A  send Ctrl-A\nCtrl-A H  this help\n"

// escapes takes the Ctrl-A commands out of what is typed. The zero value is ready.
type escapes struct{ prefix bool }

// filter appends to out what is for the guest, up to the first command. It
// returns the rest of in, which follows that command.
func (e *escapes) filter(out, in []byte) (forGuest []byte, cmd escapeCommand, rest []byte) {
	for i, b := range in {
		switch {
		case !e.prefix && b == ctrlA:
			e.prefix = true
			continue
		case !e.prefix:
			out = append(out, b)
			continue
		}
		e.prefix = false
		switch b {
		case 'x', 'X':
			return out, escapeQuit, in[i+1:]
		case 'h', 'H', '?':
			return out, escapeHelp, in[i+1:]
		case 'a', 'A', ctrlA:
			out = append(out, ctrlA)
		default:
			// Not a command: the guest gets the key, as it was typed.
			out = append(out, b)
		}
	}
	return out, escapeNone, nil
}
