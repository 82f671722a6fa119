package ibmmq

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// javaRFH2 is a header as a Java program writes it: big-endian, three folders, written down from IBM's description of its
// fields and not made by our own writer.
func javaRFH2() []byte {
	b, _ := hex.DecodeString("52464820" + "00000002" + "000000bc" + "00000111" + "000004b8" + // RFH, 2, 188 bytes, 273, 1208
		hex.EncodeToString([]byte("MQSTR   ")) + "00000000" + "000004b8")
	for _, f := range []string{"<mcd><Msd>jms_text</Msd><Type>order</Type></mcd>", "<jms><Dst>queue:///Q1</Dst></jms>",
		"<usr><n dt='i4'>7</n><s>a&amp;b</s></usr>"} {
		f += strings.Repeat(" ", (4-len(f)%4)%4)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return b
}

func TestJavaHeaderIsUnderstood(t *testing.T) {
	head := javaRFH2()
	binary.BigEndian.PutUint32(head[8:], uint32(len(head)))
	w := Wire{MD: Descriptor{Format: "MQHRF2  ", Encoding: 273, CCSID: 1208, Priority: -1, Persistence: 2}, Body: append(head, "Grüße"...)}
	m := Decode(w, received)
	if m.Type != "order" || string(m.Body.Data) != "Grüße" || m.Body.Format != FormatString || m.Body.Encoding != 273 || m.Body.CCSID != 0 {
		t.Errorf("type %q, body %+v", m.Type, m.Body)
	}
	want := []adapters.Prop{{Name: "mcd.Msd", V: adapters.String("jms_text")}, {Name: "jms.Dst", V: adapters.String("queue:///Q1")},
		{Name: "n", V: adapters.Int(adapters.TI32, 7)}, {Name: "s", V: adapters.String("a&b")}}
	if d := cmp.Diff(want, m.Props, cmp.AllowUnexported(adapters.Value{})); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestFoldersComeBack writes every type in both byte orders and reads it again.
func TestFoldersComeBack(t *testing.T) {
	props := []adapters.Prop{{Name: "nothing", V: adapters.Null()}, {Name: "b", V: adapters.Bool(true)}, {Name: "i8", V: adapters.Int(adapters.TI8, -128)},
		{Name: "i16", V: adapters.Int(adapters.TI16, -1)}, {Name: "i32", V: adapters.Int(adapters.TI32, 7)}, {Name: "i64", V: adapters.Int(adapters.TI64, -1<<63)},
		{Name: "f32", V: adapters.Float32(0.1)}, {Name: "f64", V: adapters.Float64(1e300)}, {Name: "s", V: adapters.String(" <a href='x'>&größe\r\n</a> ")},
		{Name: "empty", V: adapters.String("")}, {Name: "x", V: adapters.Bytes([]byte{0, 255})}}
	usr, err := PropertiesFolder("usr", props)
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []int32{546, 273, 785} {
		h := RFH2{Encoding: encoding, CCSID: 37, Format: FormatString, Flags: 1, Folders: []Folder{usr}}
		got, body, err := ParseRFH2(append(h.Append(nil, encoding), "body"...), encoding)
		if err != nil || string(body) != "body" {
			t.Fatalf("encoding %d: body %q, %v", encoding, body, err)
		}
		if d := cmp.Diff(h, got); d != "" {
			t.Errorf("encoding %d (-sent +got)\n%s", encoding, d)
		}
		back, ok := got.Folders[0].Properties()
		if d := cmp.Diff(props, back, cmp.AllowUnexported(adapters.Value{})); d != "" || !ok {
			t.Errorf("encoding %d: %t (-sent +got)\n%s", encoding, ok, d)
		}
	}
}

// TestUTF16Folders: NameValueCCSID 1200, as some programs write it.
func TestUTF16Folders(t *testing.T) {
	var text []byte
	for _, u := range utf16.Encode([]rune("<usr><g>größe😀</g></usr>")) {
		text = binary.LittleEndian.AppendUint16(text, u)
	}
	for len(text)%4 != 0 {
		text = append(text, ' ', 0)
	}
	head := RFH2{Format: FormatNone}.Append(nil, 546)
	binary.LittleEndian.PutUint32(head[8:], uint32(len(head)+4+len(text)))
	binary.LittleEndian.PutUint32(head[32:], 1200)
	head = append(binary.LittleEndian.AppendUint32(head, uint32(len(text))), text...)
	h, _, err := ParseRFH2(head, 546)
	if err != nil {
		t.Fatal(err)
	}
	if ps, ok := h.Folders[0].Properties(); !ok || len(ps) != 1 || ps[0].V.Str() != "größe😀" {
		t.Errorf("%v, %t", ps, ok)
	}
}

// TestBrokenHeadersStayOpaque: what says MQHRF2 and is none reaches the other side byte for byte, with its format.
func TestBrokenHeadersStayOpaque(t *testing.T) {
	good := javaRFH2()
	binary.BigEndian.PutUint32(good[8:], uint32(len(good)))
	change := func(at int, b ...byte) []byte {
		out := slices.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, body := range map[string][]byte{
		"empty": {}, "short": good[:35], "another id": change(0, 'X'), "version 1": change(4, 0, 0, 0, 1),
		"too long": change(8, 0x7f, 0xff, 0xff, 0xff), "negative length": change(8, 0xff, 0xff, 0xff, 0xff), "too short": change(8, 0, 0, 0, 8),
		"folder beyond the end": change(36, 0, 0, 0x7f, 0), "folder that is no element": change(40, 'x'),
		"unknown code page": change(32, 0, 0, 1, 0xf4), "cut": good[:len(good)-1], "no UTF-8": change(45, 0xff),
	} {
		w := Wire{MD: Descriptor{Format: FormatRFH2, Encoding: 273}, Body: body}
		m := Decode(w, received)
		if !bytes.Equal(m.Body.Data, body) || m.Body.Format != FormatRFH2 || len(m.Props) != 0 {
			t.Errorf("%s: format %q, %d of %d bytes, properties %v", name, m.Body.Format, len(m.Body.Data), len(body), m.Props)
		}
	}
}

// TestForeignFoldersStay: a folder of an application, or one whose XML is broken, stays in front of the body.
func TestForeignFoldersStay(t *testing.T) {
	deep := "<usr>" + strings.Repeat("<a>", 50) + strings.Repeat("</a>", 50) + "</usr>"
	for _, foreign := range []string{"<app><x>1</x></app>", "<usr><a>1</usr>", "<usr><a dt='i4'>x</a></usr>", "<usr>text</usr>",
		"<usr><a dt='boolean'>yes</a></usr>", "<usr><a dt='what'>1</a></usr>", "<usr><a dt='bin.hex'>0</a></usr>", deep} {
		known := Folder{"usr", "<usr><k>v</k></usr>"}
		head := RFH2{Encoding: 273, CCSID: 37, Format: "MYFORM", Folders: []Folder{{folderName(foreign), foreign}, known}}.Append(nil, 546)
		m := Decode(Wire{MD: Descriptor{Format: FormatRFH2, Encoding: 546}, Body: append(head, "body"...)}, received)
		if v, _ := m.Prop("k"); v.Str() != "v" || m.Body.Format != FormatRFH2 {
			t.Fatalf("%.40s: properties %v, format %q", foreign, m.Props, m.Body.Format)
		}
		h, body, err := ParseRFH2(m.Body.Data, 546)
		if err != nil || string(body) != "body" || h.Format != "MYFORM" || h.Encoding != 273 || h.CCSID != 37 || len(h.Folders) != 1 ||
			h.Folders[0].Text != foreign {
			t.Errorf("%.40s: left %+v, body %q, %v", foreign, h, body, err)
		}
	}
}

func TestGroupsOfProperties(t *testing.T) {
	f := Folder{"usr", "<usr><a><b dt='i2'>1</b><c><d>x</d></c></a><e/> </usr>"}
	ps, ok := f.Properties()
	want := []adapters.Prop{{Name: "a.b", V: adapters.Int(adapters.TI16, 1)}, {Name: "a.c.d", V: adapters.String("x")}, {Name: "e", V: adapters.String("")}}
	if d := cmp.Diff(want, ps, cmp.AllowUnexported(adapters.Value{})); d != "" || !ok {
		t.Errorf("%t (-want +got)\n%s", ok, d)
	}
}

func TestWhatNoFolderCarries(t *testing.T) {
	for _, p := range []adapters.Prop{{Name: "a$b", V: adapters.String("")}, {Name: "1a", V: adapters.String("")}, {Name: "", V: adapters.String("")},
		{Name: "a", V: adapters.String("\x01")}, {Name: "a", V: adapters.String("\xff")}, {Name: "a", V: adapters.List()}} {
		if f, err := PropertiesFolder("usr", []adapters.Prop{p}); err == nil {
			t.Errorf("%#v was written as %s", p, f.Text)
		}
	}
}

// FuzzDecode: whatever the body says of itself, nothing panics, no byte of a body that stays opaque changes, and what was read
// can be put again.
func FuzzDecode(f *testing.F) {
	good := javaRFH2()
	binary.BigEndian.PutUint32(good[8:], uint32(len(good)))
	f.Add(good, int32(273), "MQHRF2", "20231114", "22132000")
	f.Add(RFH2{Format: FormatRFH2, Folders: []Folder{{"usr", "<usr><a xsi:nil='true'/></usr>"}}}.Append(nil, 546), int32(546), "MQHRF2", "", "")
	f.Fuzz(func(t *testing.T, body []byte, encoding int32, format, date, clock string) {
		before := slices.Clone(body)
		m := Decode(Wire{MD: Descriptor{Format: format, Encoding: encoding, PutDate: date, PutTime: clock, ReplyToQ: date}, Body: body}, received)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was written to")
		}
		if len(m.Body.Data) > 2*len(body)+64 { // UTF-16 becomes UTF-8
			t.Fatalf("%d bytes became %d", len(body), len(m.Body.Data))
		}
		m.ReplyTo = adapters.Addr{}
		if _, err := Encode(m, Options{SetContext: true}); err != nil {
			t.Fatal(err)
		}
	})
}
