package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"govmm/devices/virtio/netif/tapnet"
)

// What a routed tap has changed of the host beyond itself is undone by a keeper, which keeps the privilege that takes when the monitor gives it up.
const guardTapCommand = "guard-tap"

// A guardedTap is a routed tap with its keeper.
type guardedTap struct {
	*tapnet.Network
	keeper *keeper
}

func guardTap(n *tapnet.Network) (*guardedTap, error) {
	trace, err := n.Trace()
	var k *keeper
	if err == nil {
		k, err = startKeeper(nil, guardTapCommand, trace.Tap, strconv.FormatUint(uint64(trace.Index), 10))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tap %s: %w", n.Name(), err), n.Close())
	}
	return &guardedTap{n, k}, nil
}

// Close closes the tap, and returns when all that was done for it is undone.
func (g *guardedTap) Close() error {
	return errors.Join(g.CloseTap(), g.keeper.release())
}

// newGuardTapCommand is the keeper's own side: descriptor 3 is the pipe.
func newGuardTapCommand() *cobra.Command {
	return &cobra.Command{
		Use:    guardTapCommand + " NAME INDEX",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			index, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil {
				return fmt.Errorf("%s is for govmm's own use: %w", guardTapCommand, err)
			}
			pipe := keep()
			_, _ = pipe.Read(make([]byte, 1)) // nothing comes but its end
			if err := tapnet.Sweep(tapnet.Trace{Tap: args[0], Index: uint32(index)}); err != nil {
				return fmt.Errorf("tap %s: rules for it may be left (nft list tables): %w", args[0], err)
			}
			return nil
		},
	}
}
