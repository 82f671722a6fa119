// Package standin makes IBM MQ's place on a machine that has none: a client library with the 22 calls of the MQI, in C
// (client), which the real binding loads by the trampolines of package mqi, and a queue manager in Go (qmgr), to which the
// library hands every call over loopback TCP. Nothing of it is in a release.
//
// A test starts a queue manager with qmgr.Open, or Start in a process of its own that can be killed, and connects as to a real one: the
// CONNAME says where it is.
package standin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/posthouse/posthouse/internal/mqi"
)

// Library compiles the client library, unless this machine's temporary folder has it already, and returns its path. It
// needs a C compiler: CC, or cc.
func Library() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	client := filepath.Join(filepath.Dir(here), "client")
	include := filepath.Join(filepath.Dir(here), "..", "include")
	sources, err := filepath.Glob(filepath.Join(client, "*.c"))
	if err != nil || len(sources) == 0 {
		return "", fmt.Errorf("no sources of the client library in %s: %w", client, errors.Join(err, os.ErrNotExist))
	}
	sum, err := checksum(client, include)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("posthouse-mq-%d-%s", os.Getuid(), sum))
	path := filepath.Join(dir, "libmqm_r.so")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, compile(path, include, sources)
}

// checksum is of everything that the library is made of.
func checksum(dirs ...string) (string, error) {
	h := sha256.New()
	for _, dir := range dirs {
		files, _ := filepath.Glob(filepath.Join(dir, "*.[ch]"))
		for _, path := range files {
			src, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %d\n%s", filepath.Base(path), len(src), src)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// compile writes the library under another name first: two processes may do it at once.
func compile(path, include string, sources []string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	args := []string{"-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden", "-I", include, "-o", temp}
	if out, err := exec.Command(cc, append(slices.Concat(args, sources), "-lpthread")...).CombinedOutput(); err != nil {
		return fmt.Errorf("compile the client library: %w\n%s", err, out)
	}
	return os.Rename(temp, path)
}

// Use makes this process load the stand-in's client library. Other processes do when POSTHOUSE_MQ_LIB names Library's path.
func Use() error {
	path, err := Library()
	if err != nil {
		return err
	}
	return mqi.SetLibrary(path)
}
