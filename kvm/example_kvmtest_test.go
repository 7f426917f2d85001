//go:build kvmtest

package kvm_test

// Running the example is a matter of the tag, since an Output comment would run it
// where there is no KVM.
func Example_run() {
	Example()
	// Output: 4
}
