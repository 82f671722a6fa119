package amqp

import (
	"bytes"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestLargeBodyIsNotCopied: what the library and the wire make of a large body is byte for byte what encode makes of it.
func TestLargeBodyIsNotCopied(t *testing.T) {
	large, small := bytes.Repeat([]byte("body"), largeBody/4), []byte("body")
	foot := adapters.Annot{Footer: []adapters.Prop{{Name: "f", V: adapters.String("x")}}}
	for name, c := range map[string]struct {
		m        adapters.Message
		sections int
	}{
		"large":       {adapters.Message{ContentType: "text/plain", Body: adapters.Body{Form: adapters.BodyBytes, Data: large}}, 2},
		"no head":     {adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: large}}, 2},
		"small":       {adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: small}}, 1},
		"text":        {adapters.Message{Body: adapters.Body{Form: adapters.BodyText, Data: large}}, 1},
		"in sections": {adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: large, Cuts: []int{4, len(large) - 4}}}, 1},
		"with footer": {adapters.Message{Annot: foot, Body: adapters.Body{Form: adapters.BodyBytes, Data: large}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := profileOf("artemis")
			tg := &target{link: &link{p: p}, most: 1 << 30}
			if err := tg.load(&c.m); err != nil {
				t.Fatal(err)
			}
			want, err := encode(nil, &c.m, p)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(tg.msg.Data); n != c.sections {
				t.Errorf("%d sections, want %d", n, c.sections)
			}
			out, err := tg.msg.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			cut := 5
			if out[3] == codeBin32 {
				cut = 8
			}
			if !bytes.Equal(out[cut:], want) {
				t.Errorf("%d bytes are not the %d that they should be", len(out)-cut, len(want))
			}
			tg.most = int64(len(want))
			if err := tg.load(&c.m); err != nil {
				t.Errorf("exactly as large as permitted: %v", err)
			}
			tg.most--
			if tg.load(&c.m) == nil {
				t.Error("a byte too large, and taken")
			}
		})
	}
}
