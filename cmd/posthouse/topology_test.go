package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

const topologies = "../../routes/testdata/good/"

// TestTopology compares what is shown of each kind of topology, in each form.
func TestTopology(t *testing.T) {
	for _, kind := range []string{"hub", "bus", "mesh"} {
		for _, form := range []string{"table", "dot", "mermaid", "svg", "json", "yaml"} {
			if kind != "hub" && form != "table" && form != "svg" {
				continue
			}
			r := posthouse(t, "topology", "-c", topologies+kind+".yaml", "-o", form)
			r.want(t, 0)
			golden(t, "topology-"+kind+"."+form, r.out)
			switch form {
			case "svg":
				wellFormed(t, r.out)
			case "json":
				var a answer
				if err := json.Unmarshal([]byte(r.out), &a); err != nil || !a.OK || a.Command != "topology" {
					t.Errorf("%v: %s", err, r.out)
				}
			}
		}
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, svg)
		}
	}
}

// TestWhichRepeater: a file for several needs a name, and only one of its own will do.
func TestWhichRepeater(t *testing.T) {
	bus := topologies + "bus.yaml"
	posthouse(t, "run", "-c", bus).want(t, 2, "the file is for several repeaters", "r1, r2")
	posthouse(t, "run", "-c", bus, "--repeater", "r3").want(t, 2, `no repeater named "r3": did you mean "r1"?`)
	posthouse(t, "status", "-c", bus).want(t, 2, "several repeaters")
	posthouse(t, "spool", "ls", "-c", bus).want(t, 2, "several repeaters")
	posthouse(t, "spool", "verify", "-c", bus, "--repeater", "r2").want(t, 3, "spool/r2")
	posthouse(t, "check", bus).want(t, 0, "news.b1.b2/b2", "news.b3.b2/b2", "orders.b2.b3/b3")
	r := posthouse(t, "check", "--repeater", "r2", bus)
	if r.want(t, 0, "news.b3.b2/b2"); strings.Contains(r.out, "news.b1.b2/b2") {
		t.Errorf("lanes of the other repeater: %s", r.out)
	}
	r = posthouse(t, "topology", "-c", bus, "--repeater", "r1")
	if r.want(t, 0, "news.b1.b2"); strings.Contains(r.out, "news.b3.b2") {
		t.Errorf("routes of the other repeater: %s", r.out)
	}
	t.Setenv("POSTHOUSE_REPEATER", "r9")
	posthouse(t, "run", "-c", bus).want(t, 2, `no repeater named "r9"`)
	posthouse(t, "explain", "-c", topologies+"mesh.yaml", "news.b1.b2").want(t, 0, "generated", "r1, r2, which share")
}
