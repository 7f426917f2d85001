package probe

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	greeting   = "govmm-probe "
	request    = "GET "
	maxRequest = 32 // bytes of a line
	maxClients = 64
	netPiece   = 64 << 10
)

// serveCommand is a service that says which kernel it runs on.
func serveCommand(args []string, out io.Writer) error {
	var address string
	if err := parse(args, func(f *flag.FlagSet) { f.StringVar(&address, "address", ":8080", "ADDRESS:PORT") }); err != nil {
		return err
	}
	l, err := listen(address)
	if err != nil {
		return err
	}
	defer unix.Close(l.fd)
	if err := say(out, Listening{l.address()}); err != nil {
		return err
	}
	return serve(l, bootID())
}

// serve answers until l is shut down, no more than maxClients at once.
func serve(l listener, id string) error {
	slots := make(chan struct{}, maxClients)
	for {
		slots <- struct{}{}
		c, err := l.accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { <-slots }()
			defer c.Close()
			_ = answer(c, id)
		}()
	}
}

// answer greets, and sends as many bytes as are asked for.
func answer(c conn, id string) error {
	if _, err := fmt.Fprintf(c, "%s%s\n", greeting, id); err != nil {
		return err
	}
	line, err := readLine(bufio.NewReaderSize(c, maxRequest))
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(line, request)
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || n < 0 {
		return errors.New("not a request")
	}
	for piece := make([]byte, netPiece); n > 0; {
		sent, err := c.Write(piece[:min(n, netPiece)])
		if err != nil {
			return err
		}
		n -= int64(sent)
	}
	return nil
}

// readLine reads a line that fits r's buffer.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	return strings.TrimSuffix(string(line), "\n"), err
}

// fetchCommand gets N bytes from serve.
func fetchCommand(args []string, out io.Writer) error {
	var address string
	var n int64
	err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&address, "address", "", "ADDRESS:PORT")
		f.Int64Var(&n, "n", 64*mib, "bytes")
	})
	if err != nil {
		return err
	}
	if n < 0 {
		return errors.New("-n: not negative")
	}
	w, err := fetch(address, n)
	if err != nil {
		return err
	}
	return say(out, w)
}

func fetch(address string, n int64) (w Work, err error) {
	c, err := dial(address)
	if err != nil {
		return w, err
	}
	defer c.Close()
	r := bufio.NewReaderSize(c, netPiece)
	hello, err := readLine(r)
	if err != nil {
		return w, fmt.Errorf("greeting: %w", err)
	}
	if !strings.HasPrefix(hello, greeting) {
		return w, errors.New("this is not compareprobe serve")
	}
	start := time.Now()
	if _, err := fmt.Fprintf(c, "%s%d\n", request, n); err != nil {
		return w, err
	}
	if _, err := io.CopyN(io.Discard, r, n); err != nil {
		return w, err
	}
	return Work{Units: uint64(n), Nanoseconds: time.Since(start).Nanoseconds(), Result: hello}, nil
}
