package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// completeTimeout bounds how long a shell waits for names.
const completeTimeout = time.Second

// A completion is what cobra asks for the values of an argument.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete offers names that the running daemon knows for the first argument; none where no daemon answers.
func (f *daemonFlags) complete(names func(*view) []string) completion {
	return func(c *cobra.Command, args []string, start string) (out []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, n := range names(f.running(c.Context())) {
			if strings.HasPrefix(n, start) {
				out = append(out, n)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// running is the daemon's status, without anything in it where none answers.
func (f *daemonFlags) running(ctx context.Context) *view {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	v := &view{}
	if addr, err := lookAt(*f.file, *f.admin, *f.repeater, io.Discard); err != nil || ask(ctx, addr, "/api/v1/status", v) != nil {
		return &view{}
	}
	return v
}

func routeNames(v *view) (names []string) {
	for _, r := range v.Routes {
		names = append(names, r.Name)
	}
	return names
}

func laneNames(v *view) (names []string) {
	for _, r := range v.Routes {
		for _, l := range r.Lanes {
			names = append(names, l.Name)
		}
	}
	return names
}

// endNames are the brokers that some route has an end at.
func endNames(v *view) (names []string) {
	for _, r := range v.Routes {
		ends := []endView{r.Source}
		for _, l := range r.Lanes {
			ends = append(ends, l.Link)
		}
		for _, e := range ends {
			broker, _, _ := strings.Cut(e.Address, "/")
			names = append(names, broker)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func routeAndLaneNames(v *view) []string { return append(routeNames(v), laneNames(v)...) }
