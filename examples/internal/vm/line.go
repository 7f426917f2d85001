package vm

// A Line is an input of the interrupt controllers that KVM has (lesson 4). It is a devices.IRQ.
type Line struct {
	VM     *VM
	Number uint32 // 4 is the first serial port's on a PC
}

// Trigger makes an edge: the line goes up and down.
func (l Line) Trigger() error {
	if err := l.VM.SetIRQLine(l.Number, true); err != nil {
		return err
	}
	return l.VM.SetIRQLine(l.Number, false)
}
