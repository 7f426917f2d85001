package blk

import (
	"context"
	"sync"
	"sync/atomic"

	"govmm/devices/virtio"
)

// A run is one call of Device.Run.
type run struct {
	device   *Device
	features uint64
	tracer   virtio.Tracer // nil if there is none
	fail     context.CancelCauseFunc
	workers  sync.WaitGroup // of all queues
	spare    atomic.Int64   // workers that may still be started
	share    int64          // of each queue in the workers
}

// Run implements virtio.Device. Requests are served concurrently and complete
// in any order. On cancellation it waits for those that the host is working
// on; those that wait for the limits of Config are put back.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{device: d, features: s.Features, tracer: s.Tracer, fail: cancel}
	var queues []*virtio.Queue
	for _, q := range s.Queues {
		if q.Enabled() {
			queues = append(queues, q)
		}
	}
	r.spare.Store(int64(max(0, d.workers-len(queues))))
	r.share = int64(max(1, d.workers/max(1, len(queues))))
	for _, q := range queues {
		newPool(ctx, r, q).start()
	}
	<-ctx.Done()
	r.workers.Wait()
	return context.Cause(ctx)
}
