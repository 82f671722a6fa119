package release

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// helm runs the tool as the Makefile does, built by go run.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "helm.sh/helm/v3/cmd/helm@v3.22.0"}, args...)...)
	cmd.Dir = filepath.Join(root, "packaging", "helm")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// An object of Kubernetes, as far as it is looked at.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Replicas             *int
		ServiceName          string               `yaml:"serviceName"`
		VolumeClaimTemplates []struct{ Spec any } `yaml:"volumeClaimTemplates"`
		Template             struct {
			Spec struct {
				SecurityContext struct {
					RunAsNonRoot bool `yaml:"runAsNonRoot"`
				} `yaml:"securityContext"`
				Containers []struct {
					Image string
					Env   []struct{ Name, Value string }
				}
			}
		}
	}
}

// render is what the chart comes to.
func render(t *testing.T, args ...string) []object {
	t.Helper()
	out, err := helm(t, append([]string{"template", "--kube-version", "1.31.0", "trial", "posthouse"}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []object
	for d := yaml.NewDecoder(strings.NewReader(out)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}

// TestChart: one StatefulSet with one pod and one volume for each repeater, and a topology that the program takes.
func TestChart(t *testing.T) {
	need(t, "git") // as for everything that go run has to fetch
	if out, err := helm(t, "lint", "posthouse"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	three, err := filepath.Abs(filepath.Join(root, "examples", "bus.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		names []string
	}{
		{nil, []string{"posthouse"}},
		{[]string{"--set-file", "topology=" + three, "--set", "repeaters={r1,r2}", "--set", "secret=keys"}, []string{"r1", "r2"}},
	} {
		var sets []string
		for _, o := range render(t, c.args...) {
			switch o.Kind {
			case "ConfigMap":
				checkText(t, o.Data["topology.yaml"])
			case "StatefulSet":
				sets = append(sets, strings.TrimPrefix(o.Metadata.Name, "trial-posthouse-"))
				checkSet(t, o, sets[len(sets)-1])
			case "Deployment":
				t.Error("a Deployment would start two pods on one spool")
			}
		}
		if strings.Join(sets, " ") != strings.Join(c.names, " ") {
			t.Errorf("sets for %q, want %q", sets, c.names)
		}
	}
}

func checkSet(t *testing.T, o object, name string) {
	t.Helper()
	pod := o.Spec.Template.Spec
	if o.Spec.Replicas == nil || *o.Spec.Replicas != 1 || len(o.Spec.VolumeClaimTemplates) != 1 || o.Spec.ServiceName != "trial-posthouse" {
		t.Errorf("%s: not one pod with one volume: %+v", name, o.Spec)
	}
	if !pod.SecurityContext.RunAsNonRoot || len(pod.Containers) != 1 || pod.Containers[0].Image != "posthouse:v0.5.0" ||
		pod.Containers[0].Env[0].Name != "POSTHOUSE_REPEATER" || pod.Containers[0].Env[0].Value != name {
		t.Errorf("%s: %+v", name, pod)
	}
}

// checkText has the program check a topology.
func checkText(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "topology.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", nil, program(t), "check", file)
}

// TestChartRefuses: values that could only fail later.
func TestChartRefuses(t *testing.T) {
	need(t, "git")
	for set, want := range map[string]string{
		"repeaters={a,a}": "a name is there twice", "repeaters={A}": `"A": write a-z`, "topology=": "give the text of a topology", "repeaters=null": "name at least one",
	} {
		out, err := helm(t, "template", "--kube-version", "1.31.0", "trial", "posthouse", "--set", set)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, no %q in\n%s", set, err, want, out)
		}
	}
}
