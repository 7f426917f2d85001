package usernet

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// stacks returns the goroutines that have a function of this package or of gVisor, this one apart.
func stacks() []string {
	p := make([]byte, 1<<20)
	var all []string
	for i, s := range strings.Split(string(p[:runtime.Stack(p, true)]), "\n\n") {
		if i > 0 && (strings.Contains(s, "usernet.") || strings.Contains(s, "gvisor")) && !strings.Contains(s, "testing.(*T).Run") {
			all = append(all, s)
		}
	}
	return all
}

// TestCloseUnderLoad holds that nothing is left of a network that is closed in the midst of everything: connections in both
// directions, half-open ones, forwards, UDP.
func TestCloseUnderLoad(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close() // the runtime's poller is there now, and stays
	}
	before := openFiles(t)
	t.Run("load", func(t *testing.T) {
		b, err := New(Config{
			Forwards:   []Forward{{GuestPort: 80}, {UDP: true, GuestPort: 7}},
			ResolvConf: filepath.Join(t.TempDir(), "none"),
		})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var load sync.WaitGroup
		load.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				load.Go(func() { defer c.Close(); io.Copy(io.Discard, c) })
				load.Go(func() {
					for _, err := c.Write(make([]byte, 1<<16)); err == nil; _, err = c.Write(make([]byte, 1<<16)) {
					}
				})
			}
		})
		g := newGuest(t, b, allOffloads)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for range 20 {
			c := g.mustDial("10.0.2.2:" + port)
			load.Go(func() { io.Copy(io.Discard, c) })
			load.Go(func() {
				for _, err := c.Write(make([]byte, 1<<16)); err == nil; _, err = c.Write(make([]byte, 1<<16)) {
				}
			})
		}
		u := g.dialUDP("10.0.2.2:9")
		u.Write([]byte("to nobody"))
		u53 := g.dialUDP("10.0.2.3:53")
		u53.Write([]byte("to the resolver"))
		for _, f := range b.Forwards() { // nobody listens in the guest
			network := "tcp"
			if f.UDP {
				network = "udp"
			}
			if c, err := net.Dial(network, f.Host.String()+":"+itoa(f.HostPort)); err == nil {
				c.Write([]byte("hello"))
				defer c.Close()
			}
		}
		time.Sleep(50 * time.Millisecond)
		// The machine stops its devices before it closes their backends.
		g.cancel()
		<-g.done
		g.send.Lock()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		g.send.Unlock()
		l.Close()
		g.stack.Destroy()
		load.Wait()
	})
	after := openFiles(t)
	if after > before {
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
	for range 100 { // a goroutine that has nothing more to do still takes a moment to end
		if len(stacks()) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("goroutines left:\n%s", strings.Join(stacks(), "\n\n"))
}
