package probe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Listening is the address at which serve listens, which it says first.
type Listening struct{ Listening string }

const maxFetch = 1 << 34

// serve answers each connection with a line that has the kernel's boot id, and a line "GET n" with n bytes.
func serve(args []string) error {
	f := flags("serve")
	address := f.String("address", "127.0.0.1:0", "to listen at")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", *address)
	if err != nil {
		return err
	}
	if err := say(Listening{l.Addr().String()}); err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			if err := answer(conn); err != nil {
				fmt.Fprintln(os.Stderr, Name+":", err)
			}
		}()
	}
}

func answer(conn net.Conn) error {
	defer conn.Close()
	if _, err := io.WriteString(conn, "govmm-probe "+read(bootIDPath)+"\n"); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(conn, 64).ReadSlice('\n')
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	number, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "GET ")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 || n > maxFetch {
		return fmt.Errorf("a request %q", line)
	}
	_, err = io.CopyN(conn, zeros{}, n)
	return err
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// fetch gets -n bytes from a server.
func fetch(args []string) error {
	f := flags("net")
	address := f.String("address", "", "of the server")
	n := f.Int64("n", 16<<20, "bytes")
	if err := f.Parse(args); err != nil {
		return err
	}
	conn, err := net.Dial("tcp4", *address)
	if err != nil {
		return err
	}
	defer conn.Close()
	begun := time.Now()
	if _, err := fmt.Fprintf(conn, "GET %d\n", *n); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 256<<10)
	if _, err := r.ReadSlice('\n'); err != nil {
		return err
	}
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	if err != nil {
		return err
	}
	if got != *n {
		return fmt.Errorf("%d bytes came of %d", got, *n)
	}
	return say(Work{*n, time.Since(begun).Nanoseconds()})
}
