package repeater

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../docs/metrics.md"

const metricsHead = `# Metrics

What ` + "`/metrics`" + ` of a daemon shows. Generated from the code by ` + "`go test ./repeater -run TestMetricsPage -update`" + `; a test fails when it is
stale. All carry the label ` + "`repeater`" + ` too. Values of labels come from the file and from closed lists, never from messages.
How to read them, alert rules and a dashboard: [operating.md](operating.md#metrics).

| Name | Type | Labels | |
|---|---|---|---|
`

// A described metric is one row of the page.
type described struct{ name, kind, labels, help string }

// A catalogue is a Registerer that only notes what it is given.
type catalogue struct{ rows []described }

func (c *catalogue) Register(v prometheus.Collector) error {
	if r, ok := v.(readout); ok {
		for _, f := range r.families {
			c.rows = append(c.rows, described{f.name, f.word(), strings.Join(f.labels, ", "), f.help})
		}
		return nil
	}
	kind := "counter"
	if _, ok := v.(*prometheus.HistogramVec); ok {
		kind = "histogram"
	}
	ds := make(chan *prometheus.Desc, 10)
	v.Describe(ds)
	close(ds)
	for d := range ds {
		row := described{kind: kind}
		text := d.String()
		row.name = strings.Split(text, `"`)[1]
		_, text, _ = strings.Cut(text, `help: "`)
		row.help, text, _ = strings.Cut(text, `", `)
		_, text, _ = strings.Cut(text, "variableLabels: {")
		row.labels = strings.ReplaceAll(strings.TrimSuffix(text, "}}"), ",", ", ")
		c.rows = append(c.rows, row)
	}
	return nil
}

func (c *catalogue) MustRegister(vs ...prometheus.Collector) {
	for _, v := range vs {
		_ = c.Register(v) // never fails
	}
}

func (c *catalogue) Unregister(prometheus.Collector) bool { return false }

// TestMetricsPage: docs/metrics.md has all metrics, with their types, labels and help, and no other.
func TestMetricsPage(t *testing.T) {
	c := new(catalogue)
	c.MustRegister(newMetrics(c).readout(), newGauges(&Repeater{}))
	newBridgeMetrics(c)
	var lines []string
	for _, r := range c.rows {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |\n", r.name, r.kind, r.labels, r.help))
	}
	slices.Sort(lines)
	want := metricsHead + strings.Join(slices.Compact(lines), "")
	if *update {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsPage)
	if err != nil || string(got) != want {
		t.Errorf("docs/metrics.md is stale (%v): go test ./repeater -run TestMetricsPage -update", err)
	}
	if len(lines) < 50 || !strings.Contains(want, "| `posthouse_lane_state` | gauge | route, target, state |") {
		t.Errorf("%d metrics:\n%s", len(lines), want)
	}
}
