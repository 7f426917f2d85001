// Command serve gives a file to everybody who connects to a TCP port, until it is stopped:
//
//	serve PORT FILE
//
// Each connection gets the file as it is at that moment, and is then closed.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: serve PORT FILE"))
	}
	l, err := net.Listen("tcp", ":"+os.Args[1])
	if err != nil {
		fail(err)
	}
	fail(serve(l, os.Args[2]))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "serve:", err)
	os.Exit(1)
}

// serve returns when l fails.
func serve(l net.Listener, file string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := send(c, file); err != nil {
				fmt.Fprintln(os.Stderr, "serve:", err)
			}
		}()
	}
}

func send(w io.Writer, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
