package debian

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// listsAge is how old package lists may be. A package that Debian has replaced since they
// were fetched is no longer there to download.
const listsAge = time.Hour

// lists returns apt's options for package lists of the cache's own, and fetches those if they
// are old. The system's are not used: they may be months old, and it takes root to renew them.
// Name tells apart those of different sources, which are the system's or those that the options
// given here, if any, name. The caller holds the lock.
//
// That fetching failed is told by err, but lists may still be there to use: apt also fails
// when one of many sources does not answer.
func (c *Cache) lists(ctx context.Context, name string, sources ...string) (options []string, err error) {
	dir := filepath.Join(c.dir, "apt", name)
	state, cache := filepath.Join(dir, "lists"), filepath.Join(dir, "cache")
	for _, dir := range []string{filepath.Join(state, "partial"), filepath.Join(cache, "archives", "partial")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	options = append([]string{
		"-q",
		"-o", "Dir::State::Lists=" + state,
		"-o", "Dir::Cache=" + cache,
		// As root apt would drop to a user who cannot write here, and warn of it.
		"-o", "APT::Sandbox::User=root",
	}, sources...)
	stamp := filepath.Join(dir, "fetched")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < listsAge {
		return options, nil
	}
	c.log.Info("fetching package lists", "of", name)
	if _, err := c.run(ctx, c.dir, append([]string{"apt-get", "update"}, options...)...); err != nil {
		return options, err
	}
	return options, os.WriteFile(stamp, nil, 0o644)
}
