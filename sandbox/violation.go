package sandbox

import "fmt"

// callCount is for the handler, which is in assembly.
const callCount = len(callNames)

// What the handler writes; it has nothing else to call on, as it may have interrupted anything.
var complaint, ending string

// nameless stands for numbers that are not those of system calls.
var nameless = "with an unknown number"

// catchViolations has SIGSYS, which the filter raises, end the process with a message that names the call. Go's runtime would
// write its registers and all its stacks.
func catchViolations(before, after string) error {
	complaint, ending = before, after
	return handleSIGSYS()
}

// describe says what a list of n calls is.
func describe(n int) string {
	return fmt.Sprintf("%d of %d system calls are left, and sockets with --net user", n, known())
}

func known() (n int) {
	for _, name := range callNames {
		if name != "" {
			n++
		}
	}
	return n
}
