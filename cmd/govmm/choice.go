package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

// A word is one of the values that a flag may have, and how it is written.
type word[T comparable] struct {
	text  string
	value T
}

// choice is the value of a flag that takes one of a few words.
type choice[T comparable] struct {
	to    *T
	kind  string
	words []word[T]
}

// addChoice adds a flag to c that sets *to, with completion. The help calls its value kind.
func addChoice[T comparable](c *cobra.Command, to *T, name, kind, usage string, words ...word[T]) {
	v := &choice[T]{to, kind, words}
	c.Flags().Var(v, name, usage)
	// The only error is that there is no such flag.
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(v.texts(), cobra.ShellCompDirectiveNoFileComp))
}

func (c *choice[T]) Set(s string) error {
	for _, w := range c.words {
		if w.text == s {
			*c.to = w.value
			return nil
		}
	}
	all := c.texts()
	last := len(all) - 1
	return errors.New("give " + strings.Join(all[:last], ", ") + " or " + all[last])
}

func (c *choice[T]) String() string {
	for _, w := range c.words {
		if c.to != nil && w.value == *c.to {
			return w.text
		}
	}
	return ""
}

func (c *choice[T]) Type() string { return c.kind }

// texts returns all words.
func (c *choice[T]) texts() []string {
	var texts []string
	for _, w := range c.words {
		texts = append(texts, w.text)
	}
	return texts
}
