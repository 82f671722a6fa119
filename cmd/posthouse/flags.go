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

// group makes c the parent of commands: alone it shows its help, and it refuses a misspelt one.
func group(c *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs // or cobra answers a misspelt command with the help and a 0
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, " or "))
		}
		return fail(exitConfig, err)
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(commands...)
	return c
}
