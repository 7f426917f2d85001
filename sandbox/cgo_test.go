//go:build cgo

package sandbox

// With cgo there is no sandbox to test: Go does not know of all threads.
func init() { withCgo = true }
