package main

import (
	"errors"
	"fmt"

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
	k, err := startKeeper(nil, guardTapCommand, n.Name())
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
		Use:    guardTapCommand + " NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			pipe := keep()
			_, _ = pipe.Read(make([]byte, 1)) // nothing comes but its end
			if err := tapnet.Sweep(args[0]); err != nil {
				return fmt.Errorf("tap %s: rules for it may be left (nft list tables): %w", args[0], err)
			}
			return nil
		},
	}
}
