package ibmmq

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

const received = 1700000000000

// TestEveryField puts a message that says all that MQ can hold, and gets it back.
func TestEveryField(t *testing.T) {
	m := &adapters.Message{
		Received: received, ID: adapters.ID{Form: adapters.IDBytes, B: []byte("AMQ QM1         abcdefgh")},
		Corr:    adapters.ID{Form: adapters.IDBytes, B: []byte("order-7\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
		ReplyTo: adapters.Addr{Name: "R.Q", Form: adapters.AddrQueue, Scope: "QM1"}, Type: "order", Created: received + 120,
		Expires: received + 300, Left: 300, Priority: adapters.Priority{Set: true, Value: 7}, Durable: adapters.Yes,
		MsgType: 4, Feedback: 258,
		Props: []adapters.Prop{{Name: "n", V: adapters.Null()}, {Name: "b", V: adapters.Bool(true)}, {Name: "i8", V: adapters.Int(adapters.TI8, -8)},
			{Name: "i64", V: adapters.Int(adapters.TI64, 1<<62)}, {Name: "f", V: adapters.Float64(0.5)}, {Name: "x", V: adapters.Bytes([]byte{0, 255})},
			{Name: "JMSCorrelationID", V: adapters.String("order-7")}},
		Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte("hi"), Format: FormatString, CCSID: 37, Encoding: 273},
	}
	w, err := Encode(m, Options{SetContext: true})
	if err != nil {
		t.Fatal(err)
	}
	got := Decode(w, received)
	want := m.Clone()
	want.Left = 0
	want.UserID = []byte{}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(adapters.Value{})); d != "" {
		t.Errorf("(-sent +got)\n%s", d)
	}
	if w.MD.PutDate != "20231114" || w.MD.PutTime != "22132012" {
		t.Errorf("put at %s %s", w.MD.PutDate, w.MD.PutTime)
	}
}

func TestLongNamesAreRefused(t *testing.T) {
	long := strings.Repeat("Q", 49)
	for _, a := range []adapters.Addr{{Name: long}, {Name: "Q", Scope: long}} {
		if _, err := Encode(&adapters.Message{ReplyTo: a}, Options{}); err == nil {
			t.Errorf("%+v was put: MQ would cut it", a)
		}
	}
}

func TestTimesThatAreNone(t *testing.T) {
	for _, c := range [][2]string{{"", ""}, {"20231114", "2213"}, {"20231314", "22132000"}, {"20231114", "2213200x"}, {"2023111", "422132000"}} {
		if got := putTime(c[0], c[1]); got != 0 {
			t.Errorf("%q %q: %d", c[0], c[1], got)
		}
	}
}

func TestDestinationsOfJMS(t *testing.T) {
	for s, want := range map[string]adapters.Addr{
		"queue:///Q1":                   {Name: "Q1", Form: adapters.AddrQueue},
		"queue://QM1/Q1?targetClient=1": {Name: "Q1", Form: adapters.AddrQueue, Scope: "QM1"},
		"topic://prices/eur":            {Name: "prices/eur", Form: adapters.AddrTopic},
		"queue://QM1":                   {}, "Q1": {}, "queue:///": {}, "": {},
	} {
		if got := jmsDestination(s); got != want {
			t.Errorf("%q: %+v, want %+v", s, got, want)
		}
	}
}
