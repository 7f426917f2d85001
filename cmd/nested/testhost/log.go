package testhost

import (
	"io"
	"sync"
)

// maxLog is how much of the kernel log is kept, in bytes.
const maxLog = 64 << 10

// A kernelLog keeps the end of what is written to it and passes it on, if there
// is somewhere to pass it to.
type kernelLog struct {
	mu   sync.Mutex
	tail []byte
	also io.Writer
}

func (l *kernelLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if over := len(l.tail) - maxLog; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	if l.also != nil {
		return l.also.Write(p)
	}
	return len(p), nil
}

// Bytes returns a copy of what is kept.
func (l *kernelLog) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.tail...)
}
