package release

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// wasMade says that there is something to remove.
var wasMade atomic.Bool

// inPackage is what a package must bring, with its mode as tar prints it.
var inPackage = map[string]string{
	"./usr/bin/posthouse":                                   "-rwxr-xr-x",
	"./usr/lib/systemd/system/posthouse.service":            "-rw-r--r--",
	"./usr/lib/sysusers.d/posthouse.conf":                   "-rw-r--r--",
	"./etc/posthouse/topology.yaml":                         "-rw-r--r--",
	"./etc/posthouse/secrets/":                              "drwx------",
	"./etc/default/posthouse":                               "-rw-r--r--",
	"./var/lib/posthouse/":                                  "drwx------",
	"./usr/share/man/man1/posthouse.1.gz":                   "-rw-r--r--",
	"./usr/share/man/man1/posthouse-spool-export.1.gz":      "-rw-r--r--",
	"./usr/share/bash-completion/completions/posthouse":     "-rw-r--r--",
	"./usr/share/zsh/vendor-completions/_posthouse":         "-rw-r--r--",
	"./usr/share/fish/vendor_completions.d/posthouse.fish":  "-rw-r--r--",
	"./usr/share/doc/posthouse/copyright":                   "-rw-r--r--",
	"./usr/share/doc/posthouse/upgrading.md":                "-rw-r--r--",
	"./usr/share/doc/posthouse/examples/hub-and-spoke.yaml": "-rw-r--r--",
}

// one is the only file that matches.
func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(release(t), pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

func TestDebContent(t *testing.T) {
	need(t, "dpkg-deb")
	deb := one(t, "posthouse_1.2.3_"+runtime.GOARCH+".deb")
	modes := map[string]string{}
	for line := range strings.SplitSeq(run(t, "", nil, "dpkg-deb", "-c", deb), "\n") {
		if f := strings.Fields(line); len(f) >= 6 {
			modes[f[5]] = f[0]
			if f[5] == "./var/lib/posthouse/" && f[1] != "posthouse/posthouse" {
				t.Errorf("%s belongs to %s", f[5], f[1])
			}
		}
	}
	for name, mode := range inPackage {
		if modes[name] != mode {
			t.Errorf("%s: mode %q, want %s", name, modes[name], mode)
		}
	}
	wantControl(t, deb, "Package: posthouse\n", "Version: 1.2.3", "Conflicts: posthouse-mq\n", "Depends: passwd\n", "Maintainer: ")
}

// wantControl checks what a deb says of itself.
func wantControl(t *testing.T, deb string, wants ...string) {
	t.Helper()
	control := run(t, "", nil, "dpkg-deb", "-f", deb)
	for _, want := range wants {
		if !strings.Contains(control, want) {
			t.Errorf("no %q in\n%s", want, control)
		}
	}
}

// TestDebWithIBMMQ: the other package has a program with IBM MQ built in, which needs libc and nothing of IBM's.
func TestDebWithIBMMQ(t *testing.T) {
	need(t, "dpkg-deb")
	if runtime.GOARCH != "amd64" {
		t.Skip("IBM MQ is built in on amd64 only")
	}
	deb := one(t, "posthouse-mq_1.2.3_"+runtime.GOARCH+".deb")
	wantControl(t, deb, "Package: posthouse-mq\n", "Conflicts: posthouse\n", "Provides: posthouse\n", "Depends: passwd, libc6\n")
	dir := t.TempDir()
	run(t, "", nil, "dpkg-deb", "-x", deb, dir)
	bin := filepath.Join(dir, "usr/bin/posthouse")
	if out := run(t, "", nil, bin, "version"); !strings.Contains(out, "ibmmq, ") {
		t.Errorf("no ibmmq in\n%s", out)
	}
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was read only
	libs, err := f.ImportedLibraries()
	if err != nil || !slices.Equal(libs, []string{"libc.so.6"}) {
		t.Errorf("it is linked with %q, %v", libs, err)
	}
}

// TestDebInstalls installs the package into a folder, changes its topology, and removes it: the topology and the state stay.
func TestDebInstalls(t *testing.T) {
	need(t, "dpkg", "useradd")
	deb := one(t, "posthouse_1.2.3_"+runtime.GOARCH+".deb")
	if os.Getuid() != 0 {
		t.Skip("dpkg --root gives files to other users, which takes root")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"var/lib/dpkg/status":            "",
		"var/lib/dpkg/info/format":       "1\n",
		"etc/passwd":                     "root:x:0:0:root:/:/bin/sh\n",
		"etc/group":                      "root:x:0:\n",
		"etc/shadow":                     "root:*:1:0:99999:7:::\n",
		"etc/gshadow":                    "root:*::\n",
		"var/lib/dpkg/updates/.keep":     "",
		"var/lib/dpkg/triggers/Unincorp": "",
		"var/log/.keep":                  "",
		"usr/sbin/.keep":                 "",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dpkg := func(args ...string) {
		t.Helper()
		run(t, "", nil, "dpkg", append([]string{"--root=" + dir, "--force-script-chrootless", "--force-depends", "--log=/dev/null"}, args...)...)
	}
	dpkg("--install", deb)
	passwd, err := os.ReadFile(filepath.Join(dir, "etc/passwd"))
	if err != nil || !strings.Contains(string(passwd), "\nposthouse:x:") {
		t.Errorf("no user posthouse: %v\n%s", err, passwd)
	}
	topology := filepath.Join(dir, "etc/posthouse/topology.yaml")
	run(t, "", nil, filepath.Join(dir, "usr/bin/posthouse"), "check", "--strict", topology)
	if err := os.WriteFile(topology, []byte("version: 1 # mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "var/lib/posthouse/spool")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	dpkg("--install", deb) // as an upgrade does
	if src, err := os.ReadFile(topology); err != nil || string(src) != "version: 1 # mine\n" {
		t.Errorf("an upgrade has replaced the topology: %v %q", err, src)
	}
	dpkg("--remove", "posthouse")
	if _, err := os.Stat(filepath.Join(dir, "usr/bin/posthouse")); !os.IsNotExist(err) {
		t.Errorf("the program is still there: %v", err)
	}
	dpkg("--purge", "posthouse")
	if _, err := os.Stat(state); err != nil {
		t.Errorf("the spool has gone: %v", err)
	}
}

// TestRpm reads the names out of the payload: few machines that build a deb have rpm.
func TestRpm(t *testing.T) {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	src, err := os.ReadFile(one(t, "posthouse-1.2.3-1."+arch+".rpm"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(src, []byte("\xed\xab\xee\xdb")) {
		t.Error("no rpm")
	}
	z, err := gzip.NewReader(bytes.NewReader(src[max(0, bytes.Index(src, []byte("\x1f\x8b\x08"))):]))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for name := range inPackage {
		name = strings.TrimSuffix(strings.Replace(name, "vendor-completions", "site-functions", 1)[1:], "/")
		if !bytes.Contains(payload, []byte(name+"\x00")) {
			t.Errorf("no %s in its payload", name)
		}
	}
}

// TestScriptsParse: the maintainer scripts are read by a shell, and leave a running system alone when they act elsewhere.
func TestScriptsParse(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(root, "packaging", "scripts", "*.sh"))
	if err != nil || len(scripts) != 4 {
		t.Fatal(scripts, err)
	}
	for _, s := range scripts {
		run(t, "", nil, "sh", "-n", s)
	}
}
