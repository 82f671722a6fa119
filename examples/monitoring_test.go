package examples

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// monitored has at least one of everything that is measured: a filter, a dead letter, a bridge, a promise that may lose, a
// certificate, a broker that is away.
const monitored = `version: 1
brokers:
  paris: { type: nats, site: Paris, embedded: { dir: DIR/paris, listen: "PARIS" } }
  berlin: { type: nats, site: Berlin, embedded: { dir: DIR/berlin } }
  madrid: { type: nats, site: Madrid, addresses: ["tls://DEAD"], tls: { ca_file: AUTHORITY } }
spool: { dir: DIR/spool, segment_size: 4MiB, max_size: 1GiB }
routes:
  - { name: orders, from: { broker: paris, stream: ORDERS, subject: orders, create: true }, to: { broker: berlin, subject: orders, stream: ORDERS, create: true },
      filter: 'msg.header.region == "EU"' }
  - { name: prices, from: { broker: paris, stream: PRICES, subject: prices, create: true }, to: { broker: berlin, subject: prices, stream: PRICES, create: true },
      filter: 'int(msg.header.amount) > 3', on_filter_error: dead-letter }
  - { name: ticks, delivery: at-most-once, from: { broker: paris, stream: TICKS, subject: ticks, create: true }, to: { broker: madrid, subject: ticks } }
bridges:
  - { name: pricing, request: { from: { broker: paris, stream: SQ1, subject: SQ1, create: true }, to: { broker: berlin, subject: TQ1, stream: TQ1, create: true } },
      reply: { from: { broker: berlin, stream: SQ2, subject: SQ2, create: true }, to: { broker: paris, subject: TQ2, stream: TQ2, create: true } } }
admin: { listen: 127.0.0.1:0 }
`

// authority is a file with a certificate.
func authority(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := broker.WriteTLS(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, broker.FileCA)
}

// watched runs a daemon whose brokers are up, but one, and returns it with its file.
func watched(t *testing.T) (d *daemon, file string) {
	t.Helper()
	file = written(t, monitored, "DIR", t.TempDir(), "DEAD", freePort(t), "PARIS", freePort(t), "AUTHORITY", authority(t))
	d = start(t, []string{"-c", file})
	d.await("a broker is up and another is not", func() bool {
		page := d.get("/metrics")
		return strings.Contains(page, `posthouse_broker_up{repeater="posthouse",broker="berlin",site="Berlin"} 1`) &&
			strings.Contains(page, `posthouse_broker_up{repeater="posthouse",broker="madrid",site="Madrid"} 0`)
	})
	d.await("the routes are up", func() bool { return strings.Count(d.get("/metrics"), `state="pass-through"} 1`) == 4 })
	return d, file
}

// scraped are the metrics of a daemon that has seen everything, as text and by name.
func scraped(t *testing.T) (text string, families map[string]*dto.MetricFamily) {
	t.Helper()
	d, file := watched(t)
	for _, args := range [][]string{{"paris/orders", "x", "-H", "region=EU"}, {"paris/orders", "x", "-H", "region=US"}, {"paris/prices", "x", "-H", "amount=many"}} {
		command(t, nil, append([]string{"send", "-c", file}, args...)...)
	}
	d.await("all has happened", func() bool {
		text = d.get("/metrics")
		return strings.Contains(text, `posthouse_route_forwarded_messages_total{repeater="posthouse",route="orders",target="berlin"} 1`) &&
			strings.Contains(text, `posthouse_dead_letter_messages{repeater="posthouse",route="prices"} 1`)
	})
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return text, families
}

// TestMonitoring: what a daemon shows is well named; the rules and the dashboard ask only for what it shows; the rules fire
// when they should.
func TestMonitoring(t *testing.T) {
	text, families := scraped(t)
	if out, err := broker.RunPromtool(t, text, "check", "metrics"); err != nil || out != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if len(families) < 60 {
		t.Errorf("only %d families", len(families))
	}
	exprs := dashboardQueries(t)
	if len(exprs) < 40 {
		t.Errorf("the dashboard has only %d queries", len(exprs))
	}
	rules := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(rules, asRules(exprs), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", rules}, {"check", "rules", "monitoring/alerts.yaml"}, {"test", "rules", "monitoring/alerts_test.yaml"}} {
		if out, err := broker.RunPromtool(t, "", args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	alerts, err := os.ReadFile("monitoring/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, expr := range append(exprs, string(alerts)) {
		asksForWhatIsThere(t, expr, families)
	}
	test, err := os.ReadFile("monitoring/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(alerts), -1)
	for _, name := range names {
		if !regexp.MustCompile(`alertname: ` + name[1] + `\n`).Match(test) {
			t.Errorf("no test lets %s fire", name[1])
		}
	}
	if len(names) != 12 {
		t.Errorf("%d alerts", len(names))
	}
}

// The protobuf format, which Prometheus asks for when it collects native histograms, has all that the text has.
func TestNativeHistograms(t *testing.T) {
	d, file := watched(t)
	command(t, nil, "send", "-c", file, "paris/orders", "x", "-H", "region=EU")
	d.await("it is forwarded", func() bool { return d.forwarded("orders") == 1 })
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://"+d.admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	dec, got := expfmt.NewDecoder(resp.Body, expfmt.ResponseFormat(resp.Header)), map[string]*dto.MetricFamily{}
	for {
		f := new(dto.MetricFamily)
		if err := dec.Decode(f); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got[f.GetName()] = f
	}
	for _, name := range []string{"posthouse_route_latency_seconds", "posthouse_lane_confirm_seconds", "posthouse_route_filter_seconds"} {
		if f := got[name]; f == nil || f.Metric[0].GetHistogram().GetSchema() == 0 && len(f.Metric[0].GetHistogram().GetPositiveSpan()) == 0 {
			t.Errorf("%s is no native histogram: %v", name, f)
		}
	}
	if f := got["posthouse_route_forwarded_messages_total"]; f == nil || f.GetType() != dto.MetricType_COUNTER {
		t.Errorf("what is written as text is not there: %v", f)
	}
}

// dashboardQueries are all expressions of the dashboard, with values in place of its variables.
func dashboardQueries(t *testing.T) (exprs []string) {
	t.Helper()
	src, err := os.ReadFile("monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Templating  struct{ List []struct{ Definition string } }
		Annotations struct{ List []struct{ Expr string } }
		Panels      []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(src, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			exprs = append(exprs, q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		exprs = append(exprs, a.Expr)
	}
	for _, v := range d.Templating.List {
		if metric, _, ok := strings.Cut(strings.TrimPrefix(v.Definition, "label_values("), ", "); ok && v.Definition != "" {
			exprs = append(exprs, metric)
		}
	}
	for i := range exprs {
		exprs[i] = strings.NewReplacer("$__rate_interval", "5m", "$repeater", ".*", "$route", ".*").Replace(exprs[i])
	}
	return exprs
}

// asRules makes recording rules of expressions, so that promtool reads them.
func asRules(exprs []string) []byte {
	var b strings.Builder
	b.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for i, e := range exprs {
		fmt.Fprintf(&b, "  - { record: 'dashboard:query%d', expr: %q }\n", i, e)
	}
	return []byte(b.String())
}

var (
	metricName = regexp.MustCompile(`\b((?:posthouse|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	labelName  = regexp.MustCompile(`([a-z_]+) *[=!]`)
)

// asksForWhatIsThere looks at every metric of an expression, and at the labels that it is chosen by.
func asksForWhatIsThere(t *testing.T, expr string, families map[string]*dto.MetricFamily) {
	t.Helper()
	for _, m := range metricName.FindAllStringSubmatch(expr, -1) {
		f := families[m[1]]
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(m[1], part); ok && f == nil {
				f = families[base]
			}
		}
		if f == nil {
			t.Errorf("no daemon shows %s, which is in %s", m[1], expr)
			continue
		}
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			has := slices.ContainsFunc(f.Metric[0].Label, func(p *dto.LabelPair) bool { return p.GetName() == l[1] })
			if !has && l[1] != "job" { // that one is Prometheus' own
				t.Errorf("%s has no label %s, which is in %s", m[1], l[1], expr)
			}
		}
	}
}
