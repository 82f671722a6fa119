package main

import (
	"bytes"
	"os"
	"testing"
)

// TestCommittedIsFresh: the committed constants are those of the binding's version in go.mod.
func TestCommittedIsFresh(t *testing.T) {
	t.Chdir("..")
	dir, version, err := module()
	if err != nil {
		t.Fatal(err)
	}
	if dir == "" {
		t.Skip("the binding has not been downloaded: the build without IBM MQ does not need it")
	}
	files, err := contents(dir, version)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) || len(want) < 1000 {
			t.Errorf("%s is not what go generate makes of it (%v)", path, err)
		}
	}
}
