package main

import "testing"

func TestSummarize(t *testing.T) {
	for _, test := range []struct {
		samples []float64
		want    summary
	}{
		{[]float64{7}, summary{1, 7, 7, 7}},
		{[]float64{3, 1, 2}, summary{3, 2, 1, 3}},
		{[]float64{4, 1, 100, 2}, summary{4, 3, 1, 100}},
	} {
		before := append([]float64(nil), test.samples...)
		if got := summarize(test.samples); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.samples, got, test.want)
		}
		for i := range before {
			if before[i] != test.samples[i] {
				t.Errorf("the samples %v became %v", before, test.samples)
			}
		}
	}
}

func TestFirstRunIsDropped(t *testing.T) {
	var f figure
	for round, v := range []float64{9, 1, 2} {
		f.add(round, v, nil)
	}
	if len(f.Dropped) != 1 || f.Dropped[0] != 9 || len(f.Samples) != 2 {
		t.Errorf("%+v", f)
	}
}

func TestAllRunsFailed(t *testing.T) {
	var f figure
	f.add(0, 0, errNoInit)
	f.add(1, 0, errNoInit)
	f.close()
	if f.Missing != errNoInit.Error() || len(f.Errors) != 2 || len(f.Samples)+len(f.Dropped) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestUnits(t *testing.T) {
	for _, test := range []struct {
		kind  string
		value float64
		want  string
	}{
		{kindVirtual, 6067, "6,067 ns"},
		{kindVirtual, 999999, "999,999 ns"},
		{kindTime, 12.345e6, "12.35 ms"},
		{kindVirtual, 4035.4e6, "4,035 ms"},
		{kindMemory, 6 << 20, "6.00 MiB"},
	} {
		u := unitOf(test.kind, test.value)
		if got := u.show(test.value) + " " + u.name; got != test.want {
			t.Errorf("%v of %s is shown as %q, want %q", test.value, test.kind, got, test.want)
		}
	}
}
