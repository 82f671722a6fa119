package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

func diffCommand() *cobra.Command {
	var output string
	var live bool
	c := &cobra.Command{
		Use: "diff OLD NEW | diff --running [FILE]", Short: "Say what a reload from one file to another would do", Args: cobra.MaximumNArgs(2),
		Long: `Says what a reload from OLD to NEW would do: which routes are added, changed (and in which keys), removed and restarted,
which brokers change, and what only a restart of the daemon can take (C001). With --running OLD is what the daemon runs,
and NEW is FILE, or the file of -c; then it also says which lanes would become orphans, with how many messages (C003).
It compares what the files mean: comments, order of keys and defaults written out are no difference.
Exit 0 whatever differs; 2 if a file is wrong, 3 if no daemon answers.`,
		Example: `  posthouse diff topology.yaml.old topology.yaml
  posthouse diff --running -c topology.yaml
  posthouse diff --running new.yaml -o json`,
	}
	file, address, name := configFlag(c), adminFlag(c), repeaterFlag(c, "whose part of the files to compare, in a file for several")
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.Flags().BoolVar(&live, "running", false, "compare with what the daemon runs")
	c.RunE = func(c *cobra.Command, args []string) error {
		var r reply
		var err error
		switch {
		case live && len(args) == 1:
			r, err = diffRunning(c, args[0], *file, *address, *name)
		case live && len(args) == 0 && *file != "":
			r, err = diffRunning(c, *file, *file, *address, *name)
		case !live && len(args) == 2:
			r, err = diffFiles(c, args[0], args[1], *name)
		default:
			err = fail(exitConfig, errors.New("write diff OLD NEW, or diff --running FILE"))
		}
		return finish(c, output, r, err)
	}
	return c
}

// A diffView is the answer of diff.
type diffView struct {
	*routes.Diff
	Orphans []orphanView `json:"orphans"`
}

func diffFiles(c *cobra.Command, old, new, name string) (reply, error) {
	ks := kinds()
	a, err := loadPart(old, name, ks, c.ErrOrStderr())
	if err != nil {
		return reply{}, err
	}
	b, err := loadPart(new, name, ks, c.ErrOrStderr())
	if err != nil {
		return reply{}, err
	}
	return diffReply(b.Compare(a), nil), nil
}

func diffRunning(c *cobra.Command, new, file, address, name string) (reply, error) {
	ks := kinds()
	b, err := loadPart(new, name, ks, c.ErrOrStderr())
	if err != nil {
		return reply{}, err
	}
	addr, err := lookAt(file, address, name, io.Discard)
	if err != nil {
		return reply{}, err
	}
	var now configView
	var st view
	if err := errors.Join(ask(c.Context(), addr, "/api/v1/config", &now), ask(c.Context(), addr, "/api/v1/status", &st)); err != nil {
		return reply{}, err
	}
	a, fs, err := again(daemonFile{file: now.File, name: name}, []byte(now.Text), ks)
	if err != nil || a == nil {
		return reply{}, fail(exitRuntime, fmt.Errorf("this program cannot read what the daemon runs (generation %d, %d findings): is it of the same version?", now.Generation, len(fs)))
	}
	return diffReply(b.Compare(a), orphaned(st, b)), nil
}

// orphaned are the lanes with messages that t has no route for.
func orphaned(st view, t *routes.Table) (out []orphanView) {
	known := map[string]bool{}
	for _, r := range t.Routes {
		for _, l := range r.Lanes() {
			known[r.Name+"/"+l.Name], known[r.RenamedFrom+"/"+l.Name] = true, true
		}
	}
	for _, r := range st.Routes {
		for _, l := range r.Lanes {
			if l.Spooled > 0 && !known[l.Name] {
				out = append(out, orphanView{Name: l.Name, Messages: l.Spooled, Bytes: l.Bytes})
			}
		}
	}
	return out
}

func diffReply(d *routes.Diff, orphans []orphanView) reply {
	text := diffText(d, orphans)
	return reply{summary: fmt.Sprintf("%d added, %d changed, %d removed, %d restarted", len(d.Added), len(d.Changed), len(d.Removed), len(d.Restarted)),
		result: diffView{d, append([]orphanView{}, orphans...)}, text: func(w io.Writer) error { _, err := io.WriteString(w, text); return err }}
}

// diffText is what a reload does, one line for each thing.
func diffText(d *routes.Diff, orphans []orphanView) string {
	var b strings.Builder
	for _, c := range d.Brokers {
		fmt.Fprintf(&b, "broker   %s: %s\n", c.Name, strings.Join(c.Keys, ", "))
	}
	for _, name := range d.Added {
		fmt.Fprintf(&b, "added    %s\n", name)
	}
	for _, c := range d.Changed {
		fmt.Fprintf(&b, "changed  %s: %s\n", c.Name, strings.Join(c.Keys, ", "))
	}
	for _, c := range d.Removed {
		if c.Was != "" {
			fmt.Fprintf(&b, "renamed  %s to %s, which takes its spool along\n", c.Name, c.Was)
		} else {
			fmt.Fprintf(&b, "removed  %s\n", c.Name)
		}
	}
	if len(d.Restarted) > 0 {
		fmt.Fprintf(&b, "restarts %s\n", strings.Join(d.Restarted, ", "))
	}
	for _, k := range d.Live {
		fmt.Fprintf(&b, "live     %s\n", k)
	}
	for _, c := range d.Positions {
		fmt.Fprintf(&b, "position %s reads under its own name what %s read: not from where that one was, but from the start [%s]\n", c.Name, c.Was, codePosition)
	}
	for _, o := range orphans {
		fmt.Fprintf(&b, "orphan   %s would stay in the spool without a route, with %d messages [%s]\n", o.Name, o.Messages, codeOrphan)
	}
	for _, k := range d.Process {
		fmt.Fprintf(&b, "refused  %s can only change with a restart of the daemon [C001]\n", k)
	}
	if b.Len() == 0 {
		return "no difference\n"
	}
	return b.String()
}
