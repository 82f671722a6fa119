package ibmmq

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// TestDLHFromAMainframe: 172 bytes in big-endian order, written down field by field from IBM's description.
func TestDLHFromAMainframe(t *testing.T) {
	b, err := hex.DecodeString("444c4820" + "00000001" + "00000825" + // DLH, version 1, 2085
		pad("PAYROLL", 48) + pad("QMZ1", 48) + "00000111" + "00000025" + pad("MQSTR", 8) + "0000001c" + pad("CICSJOB", 28) + pad("20260228", 8) + pad("23595999", 8))
	if err != nil || len(b) != 172 {
		t.Fatal(len(b), err)
	}
	d, body, err := ParseDLH(append(b, "body"...), 785)
	want := DLH{Reason: 2085, Queue: "PAYROLL", Manager: "QMZ1", Encoding: 273, CCSID: 37, Format: "MQSTR", ApplType: 28, ApplName: "CICSJOB",
		Put: time.Date(2026, 2, 28, 23, 59, 59, 990_000_000, time.UTC)}
	if diff := cmp.Diff(want, d); diff != "" || string(body) != "body" || err != nil {
		t.Errorf("body %q, %v (-want +got)\n%s", body, err, diff)
	}
	if got := d.Append(nil, 785); !bytes.Equal(got, b) {
		t.Errorf("written again:\n%x\n%x", got, b)
	}
}

func pad(s string, n int) string { return hex.EncodeToString(fmt.Appendf(nil, "%-*s", n, s)) }

// TestDLHComesBack in both orders, with names that are too long for their fields cut there and nowhere else.
func TestDLHComesBack(t *testing.T) {
	for _, encoding := range []int32{546, 273} {
		w := Wire{MD: Descriptor{Format: "MYFORM", Encoding: encoding, CCSID: 37}, Body: []byte("hello")}
		dead := withDLH(w, DLH{Reason: 2362, Queue: "Q", Manager: strings.Repeat("M", 60), ApplName: strings.Repeat("p", 40), Put: time.UnixMilli(1000)}, 819)
		if dead.MD.Format != FormatDeadLetter || dead.MD.CCSID != 819 || dead.MD.Encoding != x86Encoding || len(dead.Body) != 172+5 {
			t.Fatalf("%+v", dead.MD)
		}
		m := Decode(dead, received)
		if string(m.Body.Data) != "hello" || m.Body.Format != "MYFORM" || m.Body.CCSID != 37 || m.Body.Encoding != unusual(encoding, x86Encoding) {
			t.Errorf("encoding %d: %+v", encoding, m.Body)
		}
		for name, want := range map[string]string{"dead_letter_reason": "2362", "dead_letter_reason_name": "MQRC_BACKOUT_THRESHOLD_REACHED", "dead_letter_queue": "Q",
			"dead_letter_queue_manager": strings.Repeat("M", 48), "dead_letter_application": strings.Repeat("p", 28), "dead_letter_time": "1970-01-01T00:00:01Z"} {
			if v, ok := m.Prop(name); !ok || v.Text() != want {
				t.Errorf("%s is %q, want %q", name, v.Text(), want)
			}
		}
	}
}

// TestHeadersInARow: a dead-letter header before properties, as a queue manager leaves a JMS message that it could not deliver.
func TestHeadersInARow(t *testing.T) {
	usr, err := PropertiesFolder("usr", []adapters.Prop{{Name: "k", V: adapters.String("v")}})
	if err != nil {
		t.Fatal(err)
	}
	h := RFH2{Encoding: 273, CCSID: 1208, Format: FormatString, Folders: []Folder{usr}}
	w := Wire{MD: Descriptor{Format: FormatRFH2, Encoding: 273}, Body: append(h.Append(nil, 273), "text"...)}
	m := Decode(withDLH(w, DLH{Reason: 2053, Queue: "Q"}, 0), received)
	if v, _ := m.Prop("k"); v.Str() != "v" || string(m.Body.Data) != "text" || m.Body.Format != FormatString {
		t.Errorf("property %q, body %q of format %s", v.Str(), m.Body.Data, m.Body.Format)
	}
}

func TestBrokenDLHStays(t *testing.T) {
	good := DLH{Reason: 1}.Append(nil, 546)
	for name, body := range map[string][]byte{"empty": {}, "short": good[:171], "another id": append([]byte("XLH "), good[4:]...), "another order": DLH{Reason: 1}.Append(nil, 273)} {
		m := Decode(Wire{MD: Descriptor{Format: FormatDeadLetter, Encoding: 546}, Body: body}, received)
		if m.Body.Format != FormatDeadLetter || !bytes.Equal(m.Body.Data, body) || len(m.Props) != 0 {
			t.Errorf("%s: format %q, properties %v", name, m.Body.Format, m.Props)
		}
	}
}

func TestExtensionIsTakenOff(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		encoding := int32(546)
		if order == binary.AppendByteOrder(binary.BigEndian) {
			encoding = 273
		}
		b := order.AppendUint32(order.AppendUint32([]byte("MDE "), 2), 72)
		b = order.AppendUint32(order.AppendUint32(b, 273), 37)
		b = append(append(b, "MQSTR   "...), 0, 0, 0, 0)
		b = append(b, slices.Repeat([]byte{7}, 24)...)
		for _, n := range []uint32{5, 0, inGroup | lastInGroup, 0xffffffff} {
			b = order.AppendUint32(b, n)
		}
		w := unwrapMDE(Wire{MD: Descriptor{Format: FormatExtension, Encoding: encoding}, Body: append(b, "x"...)})
		if w.MD.Format != FormatString || w.MD.CCSID != 37 || w.MD.GroupID[23] != 7 || w.MD.MsgSeqNumber != 5 || w.MD.MsgFlags != 24 || string(w.Body) != "x" {
			t.Errorf("encoding %d: %+v, body %q", encoding, w.MD, w.Body)
		}
	}
}

// FuzzParseDLH: what is read can be written again, byte for byte, but for what stands in the padding.
func FuzzParseDLH(f *testing.F) {
	f.Add(DLH{Reason: 2085, Queue: "Q", Put: time.UnixMilli(received)}.Append(nil, 546), int32(546))
	f.Fuzz(func(t *testing.T, b []byte, encoding int32) {
		d, body, err := ParseDLH(b, encoding)
		if err != nil {
			return
		}
		again, rest, err := ParseDLH(append(d.Append(nil, encoding), body...), encoding)
		if err != nil || !bytes.Equal(rest, body) || d.Reason != again.Reason || d.Queue != again.Queue {
			t.Errorf("%+v became %+v, %v", d, again, err)
		}
	})
}
