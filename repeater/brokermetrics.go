package repeater

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync/atomic"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// How an attempt to connect to a broker and to attach one end there ended; values of the label result.
const (
	connectOK          = "ok"
	connectUnreachable = "unreachable" // nobody there, or no answer
	connectRefused     = "refused"     // a definite no: wrong password, no right, no such queue
)

// connects counts the attempts at one broker.
type connects struct{ ok, unreachable, refused atomic.Int64 }

func (c *connects) note(err error) {
	switch {
	case err == nil:
		c.ok.Add(1)
	case adapters.KindOf(err).Definite():
		c.refused.Add(1)
	default:
		c.unreachable.Add(1)
	}
}

// any reports whether there was an attempt.
func (c *connects) any() bool { return c.ok.Load()+c.unreachable.Load()+c.refused.Load() > 0 }

// brokerFamilies say how the brokers are, and the certificates that the file names.
type brokerFamilies struct{ up, connects, insecure, expiry *family }

func newBrokerFamilies() brokerFamilies {
	return brokerFamilies{
		up:       gaugeFamily("broker_up", "1 while some end of a route is attached to the broker.", "broker", "site"),
		connects: counterFamily("broker_connects_total", "Attempts to connect to the broker and to attach one end of a route.", "broker", "site", "result"),
		insecure: gaugeFamily("tls_insecure", "1 if the broker's certificate is not verified.", "broker", "site"),
		expiry:   gaugeFamily("tls_certificate_expiry_timestamp_seconds", "When the first of the certificates in the file expires.", "file"),
	}
}

func (g *brokerFamilies) list() []*family { return []*family{g.up, g.connects, g.insecure, g.expiry} }

// samples are those of the brokers that run. One that no route has tried is neither up nor down.
func (g *brokerFamilies) samples(w *wiring, sample emit) {
	files := map[string]bool{}
	for name, b := range w.table.Brokers {
		sample(g.insecure, is(b.Config.TLS.SkipVerify), name, b.Site)
		files[b.Config.TLS.CAFile], files[b.Config.TLS.CertFile] = true, true
		gate := w.gates[name]
		if gate == nil || !gate.connects.any() {
			continue
		}
		sample(g.up, is(gate.isUp()), name, b.Site)
		c := &gate.connects
		for result, n := range map[string]*atomic.Int64{connectOK: &c.ok, connectUnreachable: &c.unreachable, connectRefused: &c.refused} {
			sample(g.connects, float64(n.Load()), name, b.Site, result)
		}
	}
	for file := range files {
		if at, ok := expires(file); ok {
			sample(g.expiry, float64(at.Unix()), file)
		}
	}
}

// expires is when the first of the certificates in a PEM file does; false if none can be read.
func expires(file string) (first time.Time, ok bool) {
	if file == "" {
		return first, false
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return first, false
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && (!ok || c.NotAfter.Before(first)) {
			first, ok = c.NotAfter, true
		}
	}
	return first, ok
}
