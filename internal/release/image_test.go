package release

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An instruction of a Dockerfile.
type instruction struct{ word, rest string }

// dockerfile reads the instructions; long lines may go on behind a backslash.
func dockerfile(t *testing.T) []instruction {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, "packaging", "docker", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
	var all []instruction
	for line := range strings.SplitSeq(strings.ReplaceAll(string(src), "\\\n", ""), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if !slices.Contains(known, word) || rest == "" {
			t.Errorf("%q is no instruction", line)
		}
		all = append(all, instruction{word, rest})
	}
	return all
}

// TestDockerfile: what runs is one static program without root, its state is a volume, and it is built as make release does.
// Without a docker daemon the image itself is not built here.
func TestDockerfile(t *testing.T) {
	all := dockerfile(t)
	begin := 0
	for i, in := range all {
		if in.word == "FROM" {
			begin = i
		}
	}
	var last []string
	for _, in := range all[begin:] {
		last = append(last, in.word+" "+in.rest)
	}
	for _, want := range []string{
		"FROM scratch", "USER 65532:65532", `VOLUME ["/var/lib/posthouse"]`, `ENTRYPOINT ["/usr/bin/posthouse"]`, `CMD ["run"]`,
		"COPY --from=build --chown=65532:65532 /out/state /var/lib/posthouse", "STOPSIGNAL SIGTERM",
	} {
		if !slices.Contains(last, want) {
			t.Errorf("the image has no %s", want)
		}
	}
	if slices.ContainsFunc(last, func(l string) bool { return strings.HasPrefix(l, "RUN ") }) {
		t.Error("there is no shell to run anything in the image")
	}
	mk, err := os.ReadFile(filepath.Join(root, "packaging", "release.mk"))
	if err != nil {
		t.Fatal(err)
	}
	build := regexp.MustCompile(`go build .*`).FindString(join(all))
	for _, flag := range []string{"-trimpath", "-ldflags", "-s -w -buildid= -X main.version=", "./cmd/posthouse"} {
		if !strings.Contains(build, flag) || !strings.Contains(string(mk), flag) {
			t.Errorf("%s: not in both of the Dockerfile and release.mk", flag)
		}
	}
}

func join(all []instruction) string {
	var b strings.Builder
	for _, in := range all {
		b.WriteString(in.word + " " + in.rest + "\n")
	}
	return b.String()
}

// TestProgramRunsAlone: in a root directory with nothing but the program and a topology, as the image has it.
func TestProgramRunsAlone(t *testing.T) {
	need(t, "chroot")
	if os.Getuid() != 0 {
		t.Skip("chroot takes root")
	}
	src, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "posthouse"), src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	topology, err := os.ReadFile(filepath.Join(root, "packaging", "topology.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "topology.yaml"), topology, 0o644); err != nil {
		t.Fatal(err)
	}
	out := run(t, "", nil, "chroot", "--userspec=65532:65532", dir, "/posthouse", "check", "--strict", "/topology.yaml")
	if !strings.Contains(out, "T-window") {
		t.Errorf("no lanes in\n%s", out)
	}
}
