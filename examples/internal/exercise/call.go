package exercise

// Call calls an answer that computes something, as Run runs a guest.
func Call[T any](answer func() T) (result T, err error) {
	got := make(chan T, 1)
	if err := Run(func() error { got <- answer(); return nil }); err != nil {
		return result, err
	}
	return <-got, nil
}
