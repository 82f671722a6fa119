package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/all"
	"github.com/posthouse/posthouse/spool"
)

// Set by the release build; builtFrom is the commit.
var (
	version   = "dev"
	builtFrom string
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version, the commit, and the kinds of brokers that are built in", Args: cobra.NoArgs,
		Long: `Prints the version, the commit that it was built from (with "modified" if there was more than that), the version of Go,
the format of the spool (a daemon refuses a spool of a newer one), and the kinds of brokers that are built in.`,
		Example: "  posthouse version",
		RunE: func(c *cobra.Command, _ []string) error {
			w := c.OutOrStdout()
			fmt.Fprintf(w, "posthouse %s\n", version)
			fmt.Fprintf(w, "commit    %s\n", commit())
			fmt.Fprintf(w, "go        %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			fmt.Fprintf(w, "spool     format %d\n", spool.Format)
			fmt.Fprintf(w, "brokers   %s\n", strings.Join(brokerKinds(), ", "))
			return nil
		},
	}
}

// brokerKinds are the kinds of brokers that are built in. One that was left out says so.
func brokerKinds() (names []string) {
	for _, a := range all.Adapters() {
		name := a.Kind()
		if o, ok := a.(adapters.Optional); ok && o.Missing() != nil {
			name += " (not in this build)"
		}
		names = append(names, name)
	}
	return names
}

// commit is what the program was built from, as the release build or the go command has noted it.
func commit() string {
	if builtFrom != "" {
		return builtFrom
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	about := map[string]string{}
	for _, s := range info.Settings {
		about[s.Key] = s.Value
	}
	id := about["vcs.revision"]
	if id == "" {
		return "unknown"
	}
	if about["vcs.modified"] == "true" {
		id += " modified"
	}
	return id + " " + about["vcs.time"]
}
