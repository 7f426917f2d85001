package throttle

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

func TestTake(t *testing.T) {
	start := time.Unix(1000, 0)
	type take struct {
		after time.Duration // since start
		n     uint64
		want  time.Duration
	}
	for name, tt := range map[string]*struct {
		bucket Bucket
		takes  []take
	}{
		"no limit": {Bucket{}, []take{{0, math.MaxUint64, 0}, {0, 1, 0}}},
		"burst, then rate": {Bucket{Rate: 100, Burst: 50}, []take{
			{0, 50, 0}, {0, 10, 100 * time.Millisecond}, {100 * time.Millisecond, 10, 100 * time.Millisecond}, {time.Minute, 50, 0}, {time.Minute, 1, 10 * time.Millisecond},
		}},
		"a second's burst":   {Bucket{Rate: 10}, []take{{0, 10, 0}, {0, 5, 500 * time.Millisecond}}},
		"larger than burst":  {Bucket{Rate: 10, Burst: 1}, []take{{0, 31, 3 * time.Second}, {3 * time.Second, 10, time.Second}}},
		"clock goes back":    {Bucket{Rate: 10}, []take{{0, 20, time.Second}, {-time.Hour, 0, time.Second}, {-time.Hour + time.Second, 0, 0}}},
		"more than for ever": {Bucket{Rate: 1}, []take{{0, math.MaxUint64, maxWait}, {0, math.MaxUint64, maxWait}}},
	} {
		t.Run(name, func(t *testing.T) {
			for i, k := range tt.takes {
				if got := tt.bucket.Take(k.n, start.Add(k.after)).Round(time.Microsecond); got != k.want {
					t.Errorf("take %d: wait %v, want %v", i, got, k.want)
				}
			}
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	b := Bucket{Rate: 1}
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.Wait(ctx, 1); err != nil {
		t.Error(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := b.Wait(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := b.Wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	b := Bucket{Rate: 1000}
	if n := testing.AllocsPerRun(100, func() { b.Take(1, time.Unix(1, 0)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
