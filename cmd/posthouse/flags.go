package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// wordFlag adds a flag that takes one of words, the first by default. Another word is refused with the list of them.
func wordFlag(c *cobra.Command, value *string, name, short, usage string, words ...string) {
	*value = words[0]
	c.Flags().VarP(&word{value, words}, name, short, usage)
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // fails for an unknown flag only
}

// A word is the value of such a flag.
type word struct {
	value *string
	words []string
}

func (w *word) String() string { return *w.value }
func (w *word) Type() string   { return strings.Join(w.words, "|") }

// Set refuses what is not in the list.
func (w *word) Set(s string) error {
	if !slices.Contains(w.words, s) {
		return fmt.Errorf("write one of %s", strings.Join(w.words, ", "))
	}
	*w.value = s
	return nil
}
