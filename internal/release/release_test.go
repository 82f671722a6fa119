// Package release checks what is given to users: the programs of make release, the packages, the unit, the image and the
// chart. It uses the tools of the machine where they are, and says what it did not look at where they are not.
package release

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

// run runs a command in dir and returns what it printed. env is added to the environment.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// need skips the test where a program is not there, or fails it where everything is required.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("POSTHOUSE_REQUIRE") == "all" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

// A made is a directory with what make packages makes for one architecture, and its error.
type made struct {
	dir string
	err error
}

// packages makes them once for all tests; TestMain removes them.
var packages = sync.OnceValue(func() made {
	dir, err := os.MkdirTemp("", "posthouse-release-")
	if err != nil {
		return made{err: err}
	}
	cmd := exec.Command("make", "--no-print-directory", "packages", "ARCHS="+runtime.GOARCH, "DIST="+dir, "VERSION=v1.2.3")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return made{dir, fmt.Errorf("%w\n%s", err, out)}
	}
	return made{dir: dir}
})

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("POSTHOUSE_KEEP") == "" && wasMade.Load() {
		_ = os.RemoveAll(packages().dir) // of the system's temporary directory
	}
	os.Exit(code)
}

// release returns the directory of what was made, for a machine that has what it takes.
func release(t *testing.T) string {
	t.Helper()
	need(t, "make", "git", "sha256sum", "gcc")
	if runtime.GOOS != "linux" {
		t.Skip("programs for linux")
	}
	wasMade.Store(true)
	p := packages()
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.dir
}

// program is the path of the one that was made.
func program(t *testing.T) string {
	return filepath.Join(release(t), "posthouse_linux_"+runtime.GOARCH)
}

// TestProgramIsStatic: nothing is loaded with it, no path of the builder is in it, and it says what it is.
func TestProgramIsStatic(t *testing.T) {
	bin := program(t)
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was read only
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v: it is not static", p.Type)
		}
	}
	info, err := buildinfo.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	for key, want := range map[string]string{"CGO_ENABLED": "0", "-trimpath": "true", "GOARCH": runtime.GOARCH} {
		if set[key] != want {
			t.Errorf("%s is %q, want %q", key, set[key], want)
		}
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(src, []byte(here+"/")) {
		t.Errorf("it names %s", here)
	}
	out := run(t, "", nil, bin, "version")
	for _, want := range []string{"posthouse v1.2.3\n", "\ncommit    " + strings.TrimSpace(run(t, root, nil, "git", "rev-parse", "HEAD")), "spool     format ", "brokers   amqp, "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestSameBytes builds the programs in two copies of the repository in folders of different names.
func TestSameBytes(t *testing.T) {
	need(t, "make", "git", "sha256sum", "gcc")
	var lists []string
	for _, name := range []string{"one", "another/and-deeper"} {
		dir := filepath.Join(t.TempDir(), name)
		copyRepository(t, dir)
		run(t, dir, nil, "make", "release", "ARCHS="+runtime.GOARCH, "VERSION=v1.2.3", "DIST=dist")
		list, err := os.ReadFile(filepath.Join(dir, "dist", "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, string(list))
		src, err := os.ReadFile(filepath.Join(dir, "dist", "posthouse_linux_"+runtime.GOARCH))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(src); !strings.Contains(string(list), hex.EncodeToString(sum[:])+"  posthouse_linux_"+runtime.GOARCH+"\n") {
			t.Errorf("SHA256SUMS has not %x:\n%s", sum, list)
		}
	}
	if lists[0] != lists[1] || runtime.GOARCH == "amd64" && strings.Count(lists[0], "\n") != 2 {
		t.Errorf("two builds differ, or are not all:\n%s%s", lists[0], lists[1])
	}
}

// copyRepository clones the commit, and lays what is changed and not committed over it.
func copyRepository(t *testing.T, dir string) {
	t.Helper()
	run(t, root, nil, "git", "clone", "-q", "--no-hardlinks", ".", dir)
	changed := run(t, root, nil, "git", "ls-files", "-z", "--modified", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSuffix(changed, "\x00"), "\x00") {
		src, err := os.ReadFile(filepath.Join(root, name))
		if name == "" || os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, src, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
