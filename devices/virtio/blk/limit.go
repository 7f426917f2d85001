package blk

import (
	"context"
	"time"
)

// admit waits until the limits of Config allow the request. The error is
// ctx's.
func (d *Device) admit(ctx context.Context, r *request) error {
	if d.ops.Rate != 0 {
		if err := d.ops.Wait(ctx, 1); err != nil {
			return err
		}
	}
	if d.bytes.Rate != 0 {
		return d.bytes.Wait(ctx, r.transferLen())
	}
	return nil
}

// transferLen returns the number of bytes that the request reads or writes. One
// that is too large is refused, and so moves none.
func (r *request) transferLen() uint64 {
	var n uint64
	switch r.kind {
	case typeIn:
		n = r.chain.WritableLen()
	case typeOut:
		n = r.chain.ReadableLen()
	}
	if n > maxTransfer {
		return 0
	}
	return n
}

// chargeZeroes takes the tokens for n bytes that the host may have to write.
// The number is known only when the request is served, so those that come after it wait.
func (d *Device) chargeZeroes(n uint64) {
	if d.bytes.Rate != 0 {
		d.bytes.Take(n, time.Now())
	}
}
