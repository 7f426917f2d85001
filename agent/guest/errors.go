package guest

// A contextError says what failed, before why. It stands in for package fmt, which would be a tenth of the init, and that is a part of
// each guest's memory.
type contextError struct {
	what string
	err  error
}

func (e *contextError) Error() string { return e.what + ": " + e.err.Error() }
func (e *contextError) Unwrap() error { return e.err }
