package mqtt

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

const received = 1700000000000

// TestEveryProperty publishes a message that says all that MQTT 5 can hold, and gets it back.
func TestEveryProperty(t *testing.T) {
	m := &adapters.Message{
		Received: received, Corr: adapters.ID{Form: adapters.IDBytes, B: []byte{0xc3, '('}}, ContentType: "text/plain",
		ReplyTo: adapters.Addr{Name: "answers/1", Form: adapters.AddrTopic}, Expires: received + 3000, Left: 3000, Durable: adapters.Yes,
		Props: []adapters.Prop{{Name: "a", V: adapters.String("1")}, {Name: "a", V: adapters.String("größe")}, {Name: "", V: adapters.String("")}},
		Body:  adapters.Body{Form: adapters.BodyText, Data: []byte("Grüße")},
	}
	w := Encode(m)
	if w.QoS != 1 || !w.UTF8 {
		t.Errorf("%+v: with QoS 0 nobody would know whether it arrived", w)
	}
	got := Decode(w, received)
	want := m.Clone()
	want.Left = 0
	if d := cmp.Diff(want, got, cmp.AllowUnexported(adapters.Value{})); d != "" {
		t.Errorf("(-sent +got)\n%s", d)
	}
}

// TestPayloadThatLies: an indicator that says UTF-8 over bytes that are none does not make text.
func TestPayloadThatLies(t *testing.T) {
	if m := Decode(Wire{UTF8: true, Payload: []byte{0xff}}, received); m.Body.Form != adapters.BodyBytes || m.Durable != adapters.No {
		t.Errorf("%+v", m)
	}
	if w := Encode(&adapters.Message{Body: adapters.Body{Form: adapters.BodyText, Data: []byte{0xff}}}); w.UTF8 {
		t.Error("bytes that are no UTF-8 go out as such")
	}
}

// FuzzDecode: no PUBLISH stops a message, and its payload stays.
func FuzzDecode(f *testing.F) {
	f.Add("t", "r", uint32(0), true, []byte("x"), "k", "v")
	f.Add("", "", uint32(1<<32-1), false, []byte{0xff}, "\x00", "\xff")
	f.Fuzz(func(t *testing.T, topic, reply string, expiry uint32, text bool, payload []byte, k, v string) {
		m := Decode(Wire{Topic: topic, ResponseTopic: reply, Expiry: expiry, HasExpiry: true, UTF8: text, Payload: payload,
			Correlation: payload, Props: [][2]string{{k, v}}}, received)
		w := Encode(m)
		if string(w.Payload) != string(payload) || len(w.Props) != 1 || w.Props[0] != [2]string{k, v} || m.Expires < received {
			t.Errorf("%+v", w)
		}
	})
}
