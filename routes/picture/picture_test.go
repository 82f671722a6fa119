package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

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

// TestDrawnNames: a name cannot mean anything to what draws it.
func TestDrawnNames(t *testing.T) {
	g := Graph{Brokers: []Broker{{`a"]; x`, "amqp", "<site> & \"co\"\x1b[31m"}, {"b", "kafka", ""}}, Routes: []Route{
		{Name: `r</text><script>`, from: `a"]; x`, to: []string{"b", `a"]; x`}, Enabled: true}, {Name: "off", from: "b", to: []string{"b"}}}}
	dot, mermaid, svg := g.Dot(), g.Mermaid(), g.SVG(nil)
	wellFormed(t, svg)
	for _, bad := range []string{`<script>`, "\x1b", "<site>"} {
		if strings.Contains(svg+mermaid+dot, bad) && !strings.Contains(dot, bad) {
			t.Errorf("%q stands in the picture", bad)
		}
	}
	if !strings.Contains(dot, `"a\"]; x"`) || strings.Contains(dot, "\x1b") || !strings.Contains(mermaid, `b0["a#quot;]; x<br/>amqp, #lt;site#gt;`) {
		t.Errorf("%s\n%s", dot, mermaid)
	}
	if strings.Contains(svg, ">off<") {
		t.Error("a route that is off is drawn")
	}
}

// TestLooks: a link looks as the caller says, and its arrow points where its messages go.
func TestLooks(t *testing.T) {
	g := Graph{Brokers: []Broker{{"a", "amqp", ""}, {"b", "kafka", ""}}, Routes: []Route{
		{Name: "there", from: "a", to: []string{"b"}, Enabled: true}, {Name: "back", from: "b", to: []string{"a"}, Enabled: true}}}
	svg := g.SVG(func(l Link) Look {
		if l.From == "a" && l.To == "b" && l.Routes[0] == "there" {
			return Look{Color: "#c00", Width: 3.25, Title: `cut <off> since "noon"`}
		}
		return Look{}
	})
	wellFormed(t, svg)
	for _, want := range []string{`stroke="#c00" stroke-width="3.3"`, "<title>cut &lt;off&gt; since &#34;noon&#34;</title>", `stroke="#345" marker-end`, "<title>b -&gt; a: back</title>"} {
		if strings.Count(svg, want) != 1 {
			t.Errorf("not one %s in\n%s", want, svg)
		}
	}
}
