package repeater_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/posthouse/posthouse/routes"
)

// What is written as text is what a registry gathers, sample by sample.
func TestWriteFamiliesIsWhatARegistryHas(t *testing.T) {
	spooling(t, routes.SpoolAlways, func(d *depot) {
		bulk := prometheus.NewRegistry()
		d.opts.Metrics, d.opts.Families = prometheus.NewRegistry(), bulk
		d.table.Brokers["a"].Site = "Paris \"La Villette\" \\ 1\nhall"
		d.r.MaxAttempts = 1
		d.refuses(func(n int) bool { return n == 1 })
		d.start()
		d.brokers["a"].Put("in", messages(0, 3)...)
		d.until("a dead letter", func() bool { return d.dead() == 1 })
		var text bytes.Buffer
		if err := d.rep.WriteFamilies(&text); err != nil {
			t.Fatal(err)
		}
		p := expfmt.NewTextParser(model.UTF8Validation)
		written, err := p.TextToMetricFamilies(&text)
		if err != nil {
			t.Fatal(err)
		}
		gathered, err := bulk.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if len(written) != len(gathered) || len(gathered) < 30 {
			t.Errorf("%d families are written, %d gathered", len(written), len(gathered))
		}
		for _, f := range gathered {
			w := written[f.GetName()]
			if got, want := samples(w), samples(f); !slices.Equal(got, want) {
				t.Errorf("%s is written as\n%s\nwant\n%s", f.GetName(), strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if w.GetType() != f.GetType() || w.GetHelp() != f.GetHelp() {
				t.Errorf("%s: %v %q, want %v %q", f.GetName(), w.GetType(), w.GetHelp(), f.GetType(), f.GetHelp())
			}
		}
		d.halt()
	})
}

// samples are lines of labels and value, in order.
func samples(f *dto.MetricFamily) (lines []string) {
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		slices.Sort(labels)
		lines = append(lines, fmt.Sprint(labels, m.GetCounter().GetValue()+m.GetGauge().GetValue()))
	}
	slices.Sort(lines)
	return lines
}
