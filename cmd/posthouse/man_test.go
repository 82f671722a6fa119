package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manDir is where make man wants the pages. They are made here, and not by the program, so that a release does not carry
// what makes them.
var manDir = flag.String("man", "", "write the man pages to this directory")

// TestManPages makes a page for each command, and has man read them.
func TestManPages(t *testing.T) {
	dir := *manDir
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := rootCommand()
	root.DisableAutoGenTag = true
	date := time.Unix(0, 0)
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(epoch, 0)
	}
	date = date.UTC()
	head := &doc.GenManHeader{Section: "1", Source: "Posthouse " + version, Manual: "Posthouse", Date: &date}
	if err := doc.GenManTree(root, head, dir); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range commandNames(root) {
		page := filepath.Join(dir, name+".1")
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{".SH NAME", ".SH SYNOPSIS", ".SH EXAMPLE", "Posthouse"} {
			if !bytes.Contains(src, []byte(want)) {
				t.Errorf("%s: no %s", page, want)
			}
		}
	}
	if want := len(commandNames(root)); len(pages) != want {
		t.Errorf("%d pages of %d commands", len(pages), want)
	}
	readByMan(t, pages)
	if *manDir != "" {
		for _, page := range pages {
			squeeze(t, page)
		}
	}
}

// commandNames are the names of the pages, as cobra makes them.
func commandNames(c *cobra.Command) []string {
	names := []string{strings.ReplaceAll(c.CommandPath(), " ", "-")}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, commandNames(sub)...)
		}
	}
	return names
}

// readByMan has groff, or what man uses, set the pages, and fails on its warnings.
func readByMan(t *testing.T, pages []string) {
	t.Helper()
	if _, err := exec.LookPath("groff"); err != nil {
		t.Log("no groff: the pages are not set")
		return
	}
	out, err := exec.Command("groff", append([]string{"-man", "-Tascii", "-ww", "-z"}, pages...)...).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}

// squeeze replaces a page by its compressed form, the same each time.
func squeeze(t *testing.T, page string) {
	t.Helper()
	src, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(src); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page+".gz", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(page); err != nil {
		t.Fatal(err)
	}
}
