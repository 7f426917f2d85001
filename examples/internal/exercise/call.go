package exercise

import "fmt"

// Call calls an answer that computes something. One that panics or does not return is an error like others.
func Call[T any](answer func() T) (result T, err error) {
	got := make(chan T, 1)
	err = Run(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("it panics: %v", r)
			}
		}()
		got <- answer()
		return nil
	})
	if err == nil {
		result = <-got
	}
	return result, err
}
