package machine

import (
	"errors"
	"slices"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/rng"
)

func TestValidate(t *testing.T) {
	kernel := []byte{1}
	for _, tt := range []struct {
		name   string
		cfg    Config
		fields []string // of the faults
	}{
		{"defaults", Config{Kernel: kernel}, nil},
		{"largest", Config{Kernel: kernel, Memory: MaxMemory, CPUs: MaxCPUs}, nil},
		{"no kernel", Config{}, []string{"Kernel"}},
		{"little memory", Config{Kernel: kernel, Memory: 1 << 20}, []string{"Memory"}},
		{"much memory", Config{Kernel: kernel, Memory: 3 << 40}, []string{"Memory"}},
		{"odd memory", Config{Kernel: kernel, Memory: 32<<20 + 1}, []string{"Memory"}},
		{"negative CPUs", Config{Kernel: kernel, CPUs: -1}, []string{"CPUs"}},
		{"many CPUs", Config{Kernel: kernel, CPUs: 10000}, []string{"CPUs"}},
		{"nil device", Config{Kernel: kernel, Devices: []virtio.Device{nil}}, []string{"Devices"}},
		{"many devices", Config{Kernel: kernel, Transport: MMIO, Devices: slices.Repeat([]virtio.Device{rng.New(rng.Config{})}, 17)}, []string{"Devices"}},
		{"no transport", Config{Kernel: kernel, Transport: 2}, []string{"Transport"}},
		{"trace of one CPU", Config{Kernel: kernel, CPUs: 2, Trace: newRecorder(t, 1, 1)}, []string{"Trace"}},
		{"everything", Config{Memory: 1, CPUs: -1, Devices: make([]virtio.Device, 32)}, []string{"Memory", "CPUs", "Kernel", "Devices"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Validate()
			if tt.fields == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var faults *ConfigError
			if !errors.As(err, &faults) {
				t.Fatalf("got %v, want a *ConfigError", err)
			}
			var got []string
			for _, f := range faults.Faults {
				if !slices.Contains(got, f.Field) {
					got = append(got, f.Field)
				}
			}
			if !slices.Equal(got, tt.fields) {
				t.Errorf("faults in %v, want %v", got, tt.fields)
			}
		})
	}
}
