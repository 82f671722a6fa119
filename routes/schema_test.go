package routes

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// schemaFor compiles the schema that the program hands out.
func schemaFor(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("topology.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("topology.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate reads a file as an editor does and asks the schema.
func validate(t *testing.T, s *jsonschema.Schema, src []byte) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func TestSchemaAcceptsGood(t *testing.T) {
	s := schemaFor(t)
	good, _ := filepath.Glob("testdata/good/*.yaml")
	examples, _ := filepath.Glob("../examples/*.yaml")
	for _, f := range append(good, examples...) {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, src); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestSchemaRefusesBad: what is wrong within one key is refused by the schema too. Codes for what needs a look at several
// keys, or inside of an expression, are Load's alone.
func TestSchemaRefusesBad(t *testing.T) {
	s := schemaFor(t)
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	structural := regexp.MustCompile(`error: .*\[(Y001|Y002|Y004|K001|K002|K004|K005|K007|X001)\]`)
	refused := 0
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		report, err := os.ReadFile(strings.TrimSuffix(f, ".yaml") + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if !structural.Match(report) || schemaBlind(filepath.Base(f)) {
			continue
		}
		refused++
		if validate(t, s, src) == nil {
			t.Errorf("%s: the schema accepts it", f)
		}
	}
	if refused == 0 {
		t.Error("no file was tried")
	}
}

// schemaBlind lists files whose mistake a schema cannot see: text inside of an address, keys that depend on the type or presence of
// another object.
func schemaBlind(name string) bool {
	switch name {
	case "secret-in-address.yaml", "end-missing.yaml", "end-of-other-type.yaml", "topic-without-subscription.yaml", "second-document.yaml", "addresses-missing.yaml", "no-brokers.yaml", "crlf.yaml", "spool-mode-without.yaml", "topo-ends.yaml", "match-nowhere.yaml":
		return true
	}
	return false
}

func TestReferenceIsFresh(t *testing.T) {
	golden(t, "../docs/reference.md", Reference())
}

// TestCodesAreExplained looks for every code in the sources of this package and demands its explanation, and the reverse.
func TestCodesAreExplained(t *testing.T) {
	used := map[string]bool{}
	for _, dir := range []string{".", "yamltree"} {
		files, _ := filepath.Glob(dir + "/*.go")
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") || strings.HasSuffix(f, "explain.go") {
				continue
			}
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`"([YKRFXDPBTHC]\d{3})"`).FindAllStringSubmatch(string(src), -1) {
				used[m[1]] = true
			}
		}
	}
	for c := range used {
		if text, ok := Explain(strings.ToLower(c)); !ok || !strings.HasPrefix(text, c+": ") {
			t.Errorf("no explanation of %s", c)
		}
	}
	for _, c := range codes() {
		if !used[c.code] {
			t.Errorf("%s is explained but not used", c.code)
		}
	}
	if text, ok := Explain("fields"); !ok || !strings.Contains(text, "msg.content_type") || !strings.Contains(text, "hasPrefix") {
		t.Errorf("fields: %q", text)
	}
	if _, ok := Explain("Z999"); ok {
		t.Error("an unknown code is explained")
	}
}
