package repeater

import (
	"bytes"
	"cmp"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// A family is a metric that is read when it is asked for: from the counters of routes and lanes, and from what runs. With ten
// thousand lanes such metrics have several hundred thousand samples. The Prometheus library takes microseconds for each, as it
// makes them objects, checks and sorts them; written as text one by one they take a tenth of that. So /metrics writes them as
// text (WriteFamilies), and a registry is the way for whoever asks for another format.
type family struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	desc       *prometheus.Desc
}

func newFamily(kind prometheus.ValueType, name, help string, labels ...string) *family {
	name = "posthouse_" + name
	return &family{name: name, help: help, kind: kind, labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
}

func gaugeFamily(name, help string, labels ...string) *family {
	return newFamily(prometheus.GaugeValue, name, help, labels...)
}

func counterFamily(name, help string, labels ...string) *family {
	return newFamily(prometheus.CounterValue, name, help, labels...)
}

// emit takes one sample; labels are the values of the family's labels, in their order. It keeps nothing.
type emit func(f *family, v float64, labels ...string)

// A readout is a set of families and what gives their samples.
type readout struct {
	families []*family
	samples  func(emit)
}

var _ prometheus.Collector = readout{}

// Describe implements prometheus.Collector.
func (r readout) Describe(c chan<- *prometheus.Desc) {
	for _, f := range r.families {
		c <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (r readout) Collect(c chan<- prometheus.Metric) {
	r.samples(func(f *family, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...)
	})
}

// WriteFamilies writes what Options.Families was given in Prometheus' text format 0.0.4. The families are in the order of
// their names; what has no sample is left out.
func (r *Repeater) WriteFamilies(w io.Writer) error {
	p := page{constant: `repeater="` + escaped(r.opts.Name) + `"`, text: map[*family]*bytes.Buffer{}}
	for _, o := range r.readouts {
		o.samples(p.add)
	}
	return p.write(w)
}

// A page is a text in the making. The format wants all samples of a family together.
type page struct {
	constant string // label of all
	text     map[*family]*bytes.Buffer
}

func (p *page) add(f *family, v float64, labels ...string) {
	b := p.text[f]
	if b == nil {
		b = bytes.NewBufferString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " " + f.word() + "\n")
		p.text[f] = b
	}
	line := append(b.AvailableBuffer(), f.name...)
	line = append(append(line, '{'), p.constant...)
	for i, name := range f.labels {
		line = append(append(append(line, ','), name...), '=', '"')
		line = append(append(line, escaped(labels[i])...), '"')
	}
	b.Write(append(appendValue(append(line, '}', ' '), v), '\n'))
}

func (f *family) word() string {
	if f.kind == prometheus.CounterValue {
		return "counter"
	}
	return "gauge"
}

// escaped is a label's value as it stands between quotes.
func escaped(s string) string {
	if !strings.ContainsAny(s, "\\\"\n") {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

// appendValue writes whole numbers as such: most are, and it is faster.
func appendValue(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func (p *page) write(w io.Writer) error {
	fs := make([]*family, 0, len(p.text))
	for f := range p.text {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *family) int { return cmp.Compare(a.name, b.name) })
	for _, f := range fs {
		if _, err := p.text[f].WriteTo(w); err != nil {
			return err
		}
		delete(p.text, f) // ten thousand lanes are many bytes
	}
	return nil
}
