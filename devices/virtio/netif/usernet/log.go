package usernet

import "time"

// logRefused has a line about what the guest asked for and could not get, which is usual enough for the level.
func (b *Backend) logRefused(msg string, args ...any) {
	if b.ctx.Err() != nil {
		return
	}
	if n, ok := b.refused.Allow(time.Now()); ok {
		b.log.Info("user network: "+msg, append(args, "suppressed", n)...)
	}
}

// logDropped has a line about what went beyond a bound.
func (b *Backend) logDropped(msg string, args ...any) {
	if b.ctx.Err() != nil {
		return
	}
	if n, ok := b.dropped.Allow(time.Now()); ok {
		b.log.Warn("user network: "+msg, append(args, "suppressed", n)...)
	}
}

// logFailed has a line about what the host could not do.
func (b *Backend) logFailed(msg string, args ...any) {
	if b.ctx.Err() != nil {
		return
	}
	if n, ok := b.failed.Allow(time.Now()); ok {
		b.log.Error("user network: "+msg, append(args, "suppressed", n)...)
	}
}

// logReset has a line about a connection that ended by an error of either side.
func (b *Backend) logReset(peer string, err error) {
	if b.ctx.Err() != nil {
		return
	}
	if n, ok := b.resets.Allow(time.Now()); ok {
		b.log.Debug("user network: TCP connection reset", "host", peer, "err", err, "suppressed", n)
	}
}
