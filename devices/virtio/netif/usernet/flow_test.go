package usernet

import (
	"strings"
	"testing"
	"time"
)

// TestFlowsAgeWithoutTheHostsClock holds that flows count by the monotonic clock, so that one which is set does not keep them for longer,
// or has those evicted that are in use.
func TestFlowsAgeWithoutTheHostsClock(t *testing.T) {
	var table flowTable
	table.init(1)
	if !strings.Contains(table.began.String(), " m=") {
		t.Errorf("began at %v, which has no monotonic reading", table.began)
	}
	f := flow{began: table.began}
	f.touch()
	if used := time.Duration(f.used.Load()); used < 0 || used > time.Since(table.began) {
		t.Errorf("used %v after the table began", used)
	}
	if idle := f.idle(); idle < 0 || idle > time.Since(table.began) {
		t.Errorf("idle for %v", idle)
	}
}
