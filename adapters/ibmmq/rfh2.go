package ibmmq

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// An RFH2 is the header that stands in front of a body whose format is MQHRF2: where properties are when no message handle
// takes them (PROPCTL(FORCE), and messages of applications that build it themselves).
type RFH2 struct {
	Encoding, CCSID int32  // of the body behind it
	Format          string // of the body behind it
	Flags           int32
	Folders         []Folder
}

// A Folder is one part of the header: XML text, decoded to UTF-8.
type Folder struct {
	Name string // usr, jms, mcd, ...
	Text string // the whole element, without the blanks that pad it
}

const (
	rfh2ID      = "RFH "
	rfh2Fixed   = 36 // bytes of the part that is always there
	rfh2Version = 2
	mostFolders = 64
)

var errRFH2 = errors.New("not an MQRFH2 header")

// byteOrder is the order of integers under an MQENC value: MQENC_INTEGER_REVERSED is 2.
func byteOrder(encoding int32) binary.ByteOrder {
	if encoding&0xf == 2 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// ParseRFH2 reads the header at the front of b, whose integers are as encoding says, and returns the body behind it. Its
// error says that this is no such header.
func ParseRFH2(b []byte, encoding int32) (h RFH2, body []byte, err error) {
	order := byteOrder(encoding)
	if len(b) < rfh2Fixed || string(b[:4]) != rfh2ID || order.Uint32(b[4:]) != rfh2Version {
		return h, nil, errRFH2
	}
	length := int64(order.Uint32(b[8:]))
	if length < rfh2Fixed || length > int64(len(b)) {
		return h, nil, fmt.Errorf("%w: its length is %d of %d bytes", errRFH2, length, len(b))
	}
	num := func(at int) int32 { return int32(order.Uint32(b[at:])) }
	h = RFH2{Encoding: num(12), CCSID: num(16), Format: strings.TrimRight(string(b[20:28]), " \x00"), Flags: num(28)}
	h.Folders, err = parseFolders(b[rfh2Fixed:length], num(32), order)
	return h, b[length:], err
}

func parseFolders(b []byte, ccsid int32, order binary.ByteOrder) ([]Folder, error) {
	var out []Folder
	for len(b) > 0 {
		if len(b) < 4 || len(out) == mostFolders {
			return nil, fmt.Errorf("%w: folders beyond its end", errRFH2)
		}
		n := int64(order.Uint32(b))
		if n > int64(len(b)-4) {
			return nil, fmt.Errorf("%w: a folder of %d bytes in %d", errRFH2, n, len(b)-4)
		}
		text, ok := folderText(b[4:4+n], ccsid, order)
		name := folderName(text)
		if !ok || name == "" {
			return nil, fmt.Errorf("%w: a folder that cannot be read", errRFH2)
		}
		out = append(out, Folder{name, text})
		b = b[4+n:]
	}
	return out, nil
}

// folderText decodes a folder. NameValueCCSID is one of 1208 (UTF-8), 1200, 13488 and 17584 (UTF-16).
func folderText(b []byte, ccsid int32, order binary.ByteOrder) (string, bool) {
	switch ccsid {
	case 1208:
		return strings.TrimRight(string(b), " \x00"), utf8.Valid(b)
	case 1200, 13488, 17584:
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = order.Uint16(b[2*i:])
		}
		return strings.TrimRight(string(utf16.Decode(units)), " \x00"), len(b)%2 == 0
	}
	return "", false
}

// folderName is the name of the element that text is, "" where it is none.
func folderName(text string) string {
	rest, ok := strings.CutPrefix(text, "<")
	if !ok {
		return ""
	}
	return rest[:max(strings.IndexAny(rest, " >/\t\r\n"), 0)]
}

// Append appends the header to b, with integers as encoding says and folders in UTF-8, padded to a multiple of four.
func (h RFH2) Append(b []byte, encoding int32) []byte {
	order := byteOrder(encoding).(binary.AppendByteOrder)
	var folders []byte
	for _, f := range h.Folders {
		text := f.Text + strings.Repeat(" ", (4-len(f.Text)%4)%4)
		folders = append(order.AppendUint32(folders, uint32(len(text))), text...)
	}
	b = append(b, rfh2ID...)
	for _, n := range [...]int32{rfh2Version, int32(rfh2Fixed + len(folders)), h.Encoding, h.CCSID} {
		b = order.AppendUint32(b, uint32(n))
	}
	b = fmt.Appendf(b, "%-8.8s", h.Format)
	b = order.AppendUint32(order.AppendUint32(b, uint32(h.Flags)), utf8CCSID)
	return append(b, folders...)
}

// unwrap takes MQRFH2 headers off a body, as deep as they are, and makes properties of their folders. Folders that are no
// properties stay, in a header of their own; a header that cannot be read stays as it is.
func unwrap(w Wire) Wire {
	const deepest = 8
	var kept []Folder
	for range deepest {
		if strings.TrimRight(w.MD.Format, " \x00") != FormatRFH2 {
			break
		}
		h, body, err := ParseRFH2(w.Body, w.MD.Encoding)
		if err != nil {
			break
		}
		for _, f := range h.Folders {
			if ps, ok := f.Properties(); ok {
				w.Props = append(slices.Clip(w.Props), ps...)
			} else {
				kept = append(kept, f)
			}
		}
		w.Body, w.MD.Format, w.MD.Encoding, w.MD.CCSID = body, h.Format, h.Encoding, h.CCSID
	}
	if len(kept) > 0 {
		rest := RFH2{Encoding: w.MD.Encoding, CCSID: w.MD.CCSID, Format: w.MD.Format, Folders: kept}
		w.Body = append(rest.Append(nil, x86Encoding), w.Body...)
		w.MD.Format, w.MD.Encoding = FormatRFH2, x86Encoding
	}
	return w
}

// Properties reads the folders usr, jms and mcd, and those that say content='properties'. It reports false for others and for
// text that is no XML: those belong to an application.
func (f Folder) Properties() ([]adapters.Prop, bool) {
	d := xml.NewDecoder(strings.NewReader(f.Text))
	root, ok := nextStart(d)
	if !ok || !isProperties(root) {
		return nil, false
	}
	prefix := f.Name + "."
	if f.Name == "usr" {
		prefix = ""
	}
	var ps []adapters.Prop
	ok = elements(d, prefix, 0, &ps)
	return ps, ok
}

func nextStart(d *xml.Decoder) (xml.StartElement, bool) {
	t, err := d.Token()
	s, ok := t.(xml.StartElement)
	return s, ok && err == nil
}

func isProperties(root xml.StartElement) bool {
	switch root.Name.Local {
	case "usr", "jms", "mcd":
		return true
	}
	return slices.ContainsFunc(root.Attr, func(a xml.Attr) bool { return a.Name.Local == "content" && a.Value == "properties" })
}

// elements reads what is inside an element until its end: properties, and groups of them, whose names join with a dot.
func elements(d *xml.Decoder, prefix string, depth int, ps *[]adapters.Prop) bool {
	const most = 10_000
	for {
		t, err := d.Token()
		if err != nil || len(*ps) > most {
			return false
		}
		switch t := t.(type) {
		case xml.EndElement:
			return true
		case xml.StartElement:
			if !element(d, t, prefix+t.Name.Local, depth, ps) {
				return false
			}
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return false // text beside elements is nobody's property
			}
		}
	}
}

// element reads one property, or a group of them.
func element(d *xml.Decoder, start xml.StartElement, name string, depth int, ps *[]adapters.Prop) bool {
	const deepest = 16
	var text []byte
	for {
		t, err := d.Token()
		if err != nil || depth > deepest {
			return false
		}
		switch t := t.(type) {
		case xml.CharData:
			text = append(text, t...)
		case xml.EndElement:
			v, ok := typedText(start.Attr, string(text))
			*ps = append(*ps, adapters.Prop{Name: name, V: v})
			return ok
		case xml.StartElement:
			ok := len(bytes.TrimSpace(text)) == 0 && element(d, t, name+"."+t.Name.Local, depth+1, ps)
			return ok && elements(d, name+".", depth+1, ps)
		}
	}
}

// typedText is a value by its attribute dt (IBM MQ, "Property data types and their values"); without one it is a string.
func typedText(attrs []xml.Attr, s string) (adapters.Value, bool) {
	dt := "string"
	for _, a := range attrs {
		switch {
		case a.Name.Local == "dt":
			dt = a.Value
		case a.Name.Local == "nil" && a.Value == "true":
			return adapters.Null(), true
		}
	}
	var err error
	var i int64
	var f float64
	switch dt {
	case "string":
		return adapters.String(s), true
	case "boolean":
		return adapters.Bool(s == "1"), s == "0" || s == "1"
	case "bin.hex":
		b, err := hex.DecodeString(s)
		return adapters.Bytes(b), err == nil
	case "r4":
		f, err = strconv.ParseFloat(s, 32)
		return adapters.Float32(float32(f)), err == nil
	case "r8":
		f, err = strconv.ParseFloat(s, 64)
		return adapters.Float64(f), err == nil
	case "i1", "i2", "i4", "i8", "int":
		t, bits := intType(dt)
		i, err = strconv.ParseInt(strings.TrimSpace(s), 10, bits)
		return adapters.Int(t, i), err == nil
	}
	return adapters.String(s), false
}

func intType(dt string) (adapters.Type, int) {
	switch dt {
	case "i1":
		return adapters.TI8, 8
	case "i2":
		return adapters.TI16, 16
	case "i4", "int":
		return adapters.TI32, 32
	}
	return adapters.TI64, 64
}

// PropertiesFolder writes properties as a folder: what Properties reads. Names must be XML names, as identifiers are but for
// those with a dollar sign. Its error tells of a property that XML cannot carry, such as one with control characters.
func PropertiesFolder(name string, ps []adapters.Prop) (Folder, error) {
	var b strings.Builder
	b.WriteString("<" + name + ">")
	for _, p := range ps {
		dt, text, ok := propertyText(p.V)
		if !ok || !xmlName(p.Name) || !xmlText(text) {
			return Folder{}, fmt.Errorf("the property %q cannot stand in an MQRFH2 folder", p.Name)
		}
		b.WriteString("<" + p.Name + dt + ">")
		_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
		b.WriteString("</" + p.Name + ">")
	}
	b.WriteString("</" + name + ">")
	return Folder{name, b.String()}, nil
}

func xmlName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0 && (s[0] < '0' || s[0] > '9')
}

// xmlText reports whether s is UTF-8 of characters that XML 1.0 allows.
func xmlText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
	}) < 0
}

func propertyText(v adapters.Value) (dt, text string, ok bool) {
	attr := func(t string) string { return ` dt="` + t + `"` }
	switch v.Type() {
	case adapters.TNull:
		return ` xsi:nil="true"`, "", true
	case adapters.TBool:
		return attr("boolean"), map[bool]string{false: "0", true: "1"}[v.Bool()], true
	case adapters.TI8:
		return attr("i1"), v.Text(), true
	case adapters.TI16:
		return attr("i2"), v.Text(), true
	case adapters.TI32:
		return attr("i4"), v.Text(), true
	case adapters.TI64:
		return attr("i8"), v.Text(), true
	case adapters.TF32:
		return attr("r4"), v.Text(), true
	case adapters.TF64:
		return attr("r8"), v.Text(), true
	case adapters.TBytes:
		return attr("bin.hex"), strings.ToUpper(hex.EncodeToString([]byte(v.Str()))), true
	case adapters.TString:
		return "", v.Str(), true
	}
	return "", "", false
}
