package bridge

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/posthouse/posthouse/adapters"
)

// foreignText reports whether a body is text of IBM MQ in another code page than UTF-8.
func foreignText(b *adapters.Body) bool {
	return b.Form == adapters.BodyBytes && b.Format == mqText && b.CCSID != 0 && b.CCSID != usualCCSID && len(b.Data) > 0
}

// codePage makes UTF-8 of text from IBM MQ, where the operator wants that. The CCSID stays as information: on the way
// back the content type counts. What cannot be converted stays as it is.
func (r *restorer) codePage() {
	c := r.c
	if !r.o.ConvertText || !foreignText(&c.Body) || c.ContentType != "" && !textual(c.ContentType) {
		return
	}
	text, ok := toUTF8(c.Body.Data, c.Body.CCSID, c.Body.Encoding)
	if !ok {
		r.note("mq-ccsid", Malformed)
		return
	}
	c.Body.Data = text
	c.ContentType = textType
}

// toUTF8 converts text in one of the code pages that MQ applications use: EBCDIC 37, 500, 1047 and 1140, Latin-1 (819) and
// UTF-16 (1200, in the byte order of enc). It reports false for others and for what is no text in its code page.
func toUTF8(b []byte, ccsid, enc int32) ([]byte, bool) {
	switch ccsid {
	case 37:
		return decodePage(charmap.CodePage037, b, false)
	case 500:
		return decodePage(charmap.CodePage037, b, true)
	case 1047:
		return decodePage(charmap.CodePage1047, b, false)
	case 1140:
		return decodePage(charmap.CodePage1140, b, false)
	case 819:
		return decodePage(charmap.ISO8859_1, b, false)
	case 1200:
		return fromUTF16(b, enc)
	}
	return nil, false
}

// decodePage converts a code page of single bytes. Code page 500 is 37 with seven characters in other places (IBM CDRA).
func decodePage(page *charmap.Charmap, b []byte, as500 bool) ([]byte, bool) {
	out := make([]byte, 0, len(b)+len(b)/8)
	for _, c := range b {
		r := page.DecodeByte(c)
		if as500 {
			r = page500(c, r)
		}
		if r == utf8.RuneError {
			return nil, false
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}

func page500(c byte, r rune) rune {
	switch c {
	case 0x4a:
		return '['
	case 0x4f:
		return '!'
	case 0x5a:
		return ']'
	case 0x5f:
		return '^'
	case 0xb0:
		return '¢'
	case 0xba:
		return '¬'
	case 0xbb:
		return '|'
	}
	return r
}

// fromUTF16 reads UTF-16 in the byte order of integers: MQENC_INTEGER_REVERSED (2) is little-endian, and 0 stands for the
// usual encoding, which is.
func fromUTF16(b []byte, enc int32) ([]byte, bool) {
	if len(b)%2 != 0 {
		return nil, false
	}
	little := enc == 0 || enc&0xf == 2
	units := make([]uint16, len(b)/2)
	for i := range units {
		hi, lo := uint16(b[2*i]), uint16(b[2*i+1])
		if little {
			hi, lo = lo, hi
		}
		units[i] = hi<<8 | lo
	}
	var out []byte
	for _, r := range utf16.Decode(units) {
		if r == utf8.RuneError {
			return nil, false
		}
		out = utf8.AppendRune(out, r)
	}
	return out, true
}
