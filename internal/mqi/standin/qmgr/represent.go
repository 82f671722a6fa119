package qmgr

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/charmap"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// Formats.
const (
	formatRFH2 = "MQHRF2"
	formatMDE  = "MQHMDE"
	formatText = "MQSTR"
)

// represent gives the application the message's properties: in its handle, or in an MQRFH2 before the body, or not at all.
func (g *gettingCall) represent(control int32, msg *message) code {
	props := msg.Props
	if g.handle != nil && control != mqc.PROP_FORCE_MQRFH2 && !g.has(mqc.GMO_PROPERTIES_FORCE_MQRFH2) {
		folded, rest := g.unfold()
		g.handle.props, g.handle.cursor = slices.Concat(props, folded), -1
		g.body = rest
		return done
	}
	if len(props) == 0 || g.has(mqc.GMO_NO_PROPERTIES) {
		return done
	}
	force := control == mqc.PROP_FORCE_MQRFH2 || g.has(mqc.GMO_PROPERTIES_FORCE_MQRFH2)
	if !force && control == mqc.PROP_NONE {
		return done
	}
	g.body = append(rfh2(props, g.md), g.body...)
	g.md.Format, g.md.Encoding, g.md.CCSID = formatRFH2, mqc.ENC_NATIVE, 1208
	return done
}

// folders are those of an MQRFH2 that hold properties.
var folders = []string{"usr", "jms", "mcd", "mqext"}

// rfh2 writes an MQRFH2 (version 2, little-endian, folders in UTF-8) with properties; md describes what follows it.
func rfh2(props []Property, md Descriptor) []byte {
	text := map[string]string{}
	for _, p := range props {
		folder, name, nested := strings.Cut(p.Name, ".")
		if !nested || !slices.Contains(folders, folder) {
			folder, name = "usr", p.Name
		}
		text[folder] += element(name, p)
	}
	b := []byte("RFH \x02\x00\x00\x00\x00\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, uint32(md.Encoding))
	b = binary.LittleEndian.AppendUint32(b, uint32(md.CCSID))
	b = fmt.Appendf(b, "%-8s", md.Format)
	b = append(b, 0, 0, 0, 0, 0xb8, 4, 0, 0) // flags, CCSID of the folders: 1208
	for _, folder := range folders {
		if text[folder] == "" {
			continue
		}
		f := "<" + folder + ">" + text[folder] + "</" + folder + ">"
		f += strings.Repeat(" ", (4-len(f)%4)%4)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}

// element writes one property, with its type where that is not string. A name with dots is elements in one another.
func element(name string, p Property) string {
	typ, value := typeName(p)
	var escaped bytes.Buffer
	_ = xml.EscapeText(&escaped, []byte(value))
	open, shut := "", ""
	parts := strings.Split(name, ".")
	for i, part := range parts {
		open += "<" + part
		if i == len(parts)-1 {
			open += typ
		}
		open += ">"
		shut = "</" + part + ">" + shut
	}
	return open + escaped.String() + shut
}

func typeName(p Property) (attribute, value string) {
	switch p.Type {
	case mqc.TYPE_BOOLEAN:
		return " dt='boolean'", strconv.FormatInt(integer(p.Value), 10)
	case mqc.TYPE_BYTE_STRING:
		return " dt='bin.hex'", strings.ToUpper(hex.EncodeToString(p.Value))
	case mqc.TYPE_INT8, mqc.TYPE_INT16, mqc.TYPE_INT32, mqc.TYPE_INT64:
		return fmt.Sprintf(" dt='i%d'", len(p.Value)), strconv.FormatInt(integer(p.Value), 10)
	case mqc.TYPE_FLOAT32:
		return " dt='r4'", strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(p.Value))), 'g', -1, 32)
	case mqc.TYPE_FLOAT64:
		return " dt='r8'", strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(p.Value)), 'g', -1, 64)
	case mqc.TYPE_NULL:
		return " xsi:nil='true'", ""
	}
	return "", string(p.Value)
}

// integer reads a signed little-endian number of 1 to 8 bytes.
func integer(b []byte) int64 {
	var v int64
	for i, x := range b {
		v |= int64(x) << (8 * i)
	}
	shift := 64 - 8*len(b)
	return v << shift >> shift
}

// unfold takes the properties out of an MQRFH2 at the start of the body, if all of its folders hold such; else the body stays
// as it is. The descriptor then says of the body what the header said.
func (g *gettingCall) unfold() ([]Property, []byte) {
	b := g.body
	if g.md.Format != formatRFH2 || len(b) < 36 || string(b[:4]) != "RFH " {
		return nil, b
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if g.md.Encoding&0xf == 1 {
		order = binary.BigEndian
	}
	size := int(order.Uint32(b[8:]))
	if size < 36 || size > len(b) {
		return nil, b
	}
	var props []Property
	for at := 36; at+4 <= size; {
		n := int(order.Uint32(b[at:]))
		if n < 0 || at+4+n > size {
			return nil, b
		}
		found, ok := unfoldFolder(b[at+4 : at+4+n])
		if !ok {
			return nil, b
		}
		props = append(props, found...)
		at += 4 + n
	}
	g.md.Encoding, g.md.CCSID = int32(order.Uint32(b[12:])), int32(order.Uint32(b[16:]))
	g.md.Format = strings.TrimRight(string(b[20:28]), " \x00")
	return props, b[size:]
}

// unfoldFolder reads one folder. It reports false for one that holds no properties or is no XML.
func unfoldFolder(text []byte) ([]Property, bool) {
	dec := xml.NewDecoder(bytes.NewReader(text))
	dec.Strict = false
	var props []Property
	var path []string
	var attrs []xml.Attr
	var value string
	leaf := false
	for {
		t, err := dec.Token()
		if err == io.EOF {
			return props, len(path) == 0
		}
		if err != nil {
			return nil, false
		}
		switch t := t.(type) {
		case xml.StartElement:
			if len(path) == 0 && !slices.Contains(folders, t.Name.Local) {
				return nil, false
			}
			path, attrs, value, leaf = append(path, t.Name.Local), t.Attr, "", true
		case xml.CharData:
			value += string(t)
		case xml.EndElement:
			if leaf && len(path) > 1 {
				props = append(props, property(path, attrs, value))
			}
			path, leaf = path[:len(path)-1], false
		}
	}
}

func property(path []string, attrs []xml.Attr, text string) Property {
	p := Property{Name: strings.TrimPrefix(strings.Join(path, "."), "usr."), Support: mqc.PD_SUPPORT_OPTIONAL, Copies: mqc.COPY_DEFAULT}
	typ := ""
	for _, a := range attrs {
		if a.Name.Local == "dt" {
			typ = a.Value
		}
		if a.Name.Local == "nil" && a.Value == "true" {
			typ = "null"
		}
	}
	p.Type, p.Value = parse(typ, text)
	return p
}

// parse makes the value of a property of its text.
func parse(typ, text string) (int32, []byte) {
	n, _ := strconv.ParseInt(text, 10, 64)
	f, _ := strconv.ParseFloat(text, 64)
	switch typ {
	case "null":
		return mqc.TYPE_NULL, nil
	case "boolean":
		return mqc.TYPE_BOOLEAN, binary.LittleEndian.AppendUint32(nil, uint32(flag(n != 0 || text == "true")))
	case "bin.hex":
		raw, _ := hex.DecodeString(text)
		return mqc.TYPE_BYTE_STRING, raw
	case "bin.base64":
		raw, _ := base64.StdEncoding.DecodeString(text)
		return mqc.TYPE_BYTE_STRING, raw
	case "i1":
		return mqc.TYPE_INT8, []byte{byte(n)}
	case "i2":
		return mqc.TYPE_INT16, binary.LittleEndian.AppendUint16(nil, uint16(n))
	case "i4":
		return mqc.TYPE_INT32, binary.LittleEndian.AppendUint32(nil, uint32(n))
	case "i8", "int":
		return mqc.TYPE_INT64, binary.LittleEndian.AppendUint64(nil, uint64(n))
	case "r4":
		return mqc.TYPE_FLOAT32, binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f)))
	case "r8":
		return mqc.TYPE_FLOAT64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))
	}
	return mqc.TYPE_STRING, []byte(text)
}

// forVersion hands the descriptor out as the version that the application gave: fields of version 2 that say something go
// into an MQMDE before the body if the descriptor has no room for them.
func (g *gettingCall) forVersion(version int32) {
	md := g.md
	g.md.Version = version
	if version >= 2 || md.GroupID == [24]byte{} && md.MsgSeqNumber == 1 && md.Offset == 0 && md.MsgFlags == 0 && md.OriginalLength == mqc.OL_UNDEFINED {
		return
	}
	b := []byte("MDE \x02\x00\x00\x00\x48\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, uint32(md.Encoding))
	b = binary.LittleEndian.AppendUint32(b, uint32(md.CCSID))
	b = fmt.Appendf(b, "%-8s\x00\x00\x00\x00", md.Format)
	fields := make([]byte, 40)
	md.version2(&layout{b: fields, write: true})
	g.body = slices.Concat(b, fields, g.body)
	g.md.Format, g.md.Encoding = formatMDE, mqc.ENC_NATIVE
}

// codePages are those that MQGMO_CONVERT knows here; nil is UTF-8.
var codePages = map[int32]*charmap.Charmap{37: charmap.CodePage037, 819: charmap.ISO8859_1, 1047: charmap.CodePage1047,
	1140: charmap.CodePage1140, 1208: nil}

// convert does what MQGMO_CONVERT asks for: text to UTF-8, which is the only character set that is asked for here.
func (g *gettingCall) convert() code {
	page, known := codePages[g.md.CCSID]
	switch {
	case g.md.Format != formatText:
		return warning(mqc.RC_FORMAT_ERROR)
	case !known:
		return warning(mqc.RC_NOT_CONVERTED)
	case page == nil:
		return done
	}
	text, err := page.NewDecoder().Bytes(g.body)
	if err != nil {
		return warning(mqc.RC_NOT_CONVERTED)
	}
	g.body, g.md.CCSID = text, 1208
	return done
}
