package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
)

func TestEvalCommand(t *testing.T) {
	file := write(t, "m.yaml", "{ id: m-1, priority: 7, header: { region: EU }, json: { total: 12.5 } }")
	posthouse(t, "eval", `msg.json.total * 2`, "--message", file).want(t, 0, "25\n")
	posthouse(t, "eval", `msg.priority > 3 and msg.header.region == "US"`, "-m", file, "-H", "region=US").want(t, 0, "true\n", `and        true       msg.header.region == "US"`)
	posthouse(t, "eval", `msg.priority > 9 and msg.size > 1`, "-m", file).want(t, 0, "false\n", "not asked  msg.size > 1", "msg.priority = 7")
	posthouse(t, "eval", `msg.text + route + repeater`, "--body", "a b", "--route", "r", "--repeater", "p").want(t, 0, `"a brp"`)
	posthouseIn(t, `{"id": "in"}`, "eval", "msg.id", "-m", "-").want(t, 0, `"in"`)
	posthouse(t, "eval", "1 + 1").want(t, 0, "2\n")
	posthouse(t, "eval", "msg.headr.x").want(t, 2, "expression:1:5: error", `did you mean "header"?`)
	posthouse(t, "eval", "int(msg.header.region)", "-m", file).want(t, 1, "int(EU)")
	posthouse(t, "eval", "1", "-m", "absent.yaml").want(t, 3, "absent.yaml")
	posthouse(t, "eval", "1", "-m", write(t, "bad.yaml", "headr: {}")).want(t, 2, "bad.yaml:1:1", `did you mean "header"?`)
	posthouse(t, "eval", "1", "-H", "region").want(t, 2, "write NAME=VALUE")
	posthouse(t, "eval", "1", "-m", file, "--body", "x").want(t, 2, "not both")
	posthouse(t, "eval").want(t, 2, "accepts 1 arg")
	var a struct {
		OK     bool
		Result struct{ Value, Type string }
	}
	r := posthouse(t, "eval", "-o", "json", "msg.priority", "-m", file)
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || !a.OK || a.Result.Value != "7" || a.Result.Type != "number" {
		t.Errorf("%v: %s", err, r.out)
	}
}

func TestExplainMessage(t *testing.T) {
	file := filepath.Join("..", "..", "examples", "routing.yaml")
	message := write(t, "m.yaml", `{ header: { region: EU }, json: { total: 20000 } }`)
	posthouse(t, "explain", "-c", file, "paris/ORDERS", "--message", message).want(t, 0, "at paris/ORDERS\n  route large: takes it", "set        total = 20000",
		"to         berlin/orders.large, lane large/berlin", "      at berlin/LARGE\n        route large-to-london: takes it", "to         london/orders.large",
		"route europe: not asked: another route takes it")
	r := posthouse(t, "explain", "-c", file, "europe", "-H", "region=US", "--body", "{}")
	r.want(t, 0, "route others: takes it", `false      msg.header.region in ["EU", "UK"]`)
	if strings.Contains(r.out, "berlin/LARGE") {
		t.Errorf("more than the source of the route:\n%s", r.out)
	}
	posthouse(t, "explain", "-c", file, "-m", message).want(t, 0, "at paris/ORDERS", "at berlin/LARGE\n  route large-to-london: no")
	posthouse(t, "explain", "-c", file, "nowhere", "-m", message).want(t, 2, `"nowhere"`, "paris/ORDERS, berlin/LARGE")
	posthouse(t, "explain", "-m", message).want(t, 2, "use -c FILE")
	posthouse(t, "explain", "-c", file, "a", "b", "-m", message).want(t, 2, "accepts at most 1 arg")
	var a struct {
		OK      bool
		Summary string
		Result  struct {
			Sources []struct {
				At     string
				Routes []struct{ Route, Says string }
			}
		}
	}
	r = posthouse(t, "explain", "-c", file, "paris/ORDERS", "-m", message, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || !a.OK || a.Summary != "taken by large; it ends at [london/orders.large]" || len(a.Result.Sources) != 1 || a.Result.Sources[0].Routes[0].Says != "takes" {
		t.Errorf("%v: %s", err, r.out)
	}
}

// TestTestCommand runs the table of messages of the examples, and one in which something is wrong.
func TestTestCommand(t *testing.T) {
	files, err := filepath.Glob("../../examples/tests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no table of messages")
	}
	posthouse(t, append([]string{"test"}, files...)...).want(t, 0, "all as expected")
	src, err := os.ReadFile("../../examples/tests/routing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	topology, _ := filepath.Abs("../../examples/routing.yaml")
	wrong := strings.NewReplacer("../routing.yaml", topology, "routes: [europe]", "routes: [large]", "targets: [berlin/orders.eu]", "targets: [london/orders.eu]").Replace(string(src))
	file := write(t, "wrong.yaml", wrong)
	posthouse(t, "test", file).want(t, 1, file+":4: a small order", "routes\n    expected  [large]\n    got       [europe]", "targets\n    expected  [london/orders.eu]\n    got       [berlin/orders.eu]",
		"  |   route europe: takes it", "5 messages, 1 not as expected")
	r := posthouse(t, "test", "-o", "json", file)
	var a struct {
		OK     bool
		Result []tested
	}
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || r.code != 1 || a.OK || len(a.Result) != 5 || a.Result[0].OK || len(a.Result[0].Differences) != 2 || a.Result[0].Trace == nil || !a.Result[1].OK {
		t.Errorf("%v, exit %d: %s", err, r.code, r.out)
	}
	none := write(t, "none.yaml", "tests: [{ name: x, message: {}, expect: { routes: [] } }]")
	t.Setenv("POSTHOUSE_CONFIG", "")
	posthouse(t, "test", none).want(t, 2, "names no topology")
	posthouse(t, "test", "-c", topology, none).want(t, 2, none+":1: ", "says no from")
	posthouse(t, "test", "absent.yaml").want(t, 3, "absent.yaml")
	posthouse(t, "test", write(t, "bad.yaml", "test: []")).want(t, 2, `did you mean "tests"?`)
	posthouse(t, "test", write(t, "lost.yaml", strings.Replace(wrong, topology, "absent.yaml", 1))).want(t, 3, "absent.yaml")
}

// TestShownEdits: what spool export says of a message whose headers a route changes.
func TestShownEdits(t *testing.T) {
	m := &adapters.Message{Props: []adapters.Prop{{Name: "old", V: adapters.String("x")}}, Edits: []adapters.Prop{{Name: "dc", V: adapters.String("paris")}, {Name: "old", V: adapters.Null()}}}
	b, err := json.Marshal(repeater.Show(m))
	if want := `{"headers":[["old","x"]],"set":[["dc","paris"]],"unset":["old"]}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
}
