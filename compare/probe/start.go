package probe

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// hello prints its arguments: the time to there is the time to start.
func hello(args []string, out io.Writer) error {
	_, err := fmt.Fprintln(out, strings.Join(args, " "))
	return err
}

// sleep is an idle workload, which says when it begins to be one. It catches signals, because to a container's process 1 those that it does not catch do nothing.
func sleep(_ []string, out io.Writer) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	if err := say(out, Sleeping{true}); err != nil {
		return err
	}
	<-end
	return nil
}
