package bridge

import (
	"bytes"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestParseIDIsExact: only the one spelling that FormatID writes is read as another form than a string. All else stays
// the string it is, so that it comes out as it went in.
func TestParseIDIsExact(t *testing.T) {
	for text, form := range map[string]adapters.IDForm{
		"ID:AMQP_ULONG:7":                                   adapters.IDULong,
		"ID:AMQP_ULONG:18446744073709551615":                adapters.IDULong,
		"ID:AMQP_ULONG:18446744073709551616":                adapters.IDString,
		"ID:AMQP_ULONG:007":                                 adapters.IDString,
		"ID:AMQP_ULONG:+7":                                  adapters.IDString,
		"ID:AMQP_ULONG:":                                    adapters.IDString,
		"ID:AMQP_BINARY:00FF":                               adapters.IDBytes,
		"ID:AMQP_BINARY:00ff":                               adapters.IDString,
		"ID:AMQP_BINARY:0":                                  adapters.IDString,
		"ID:AMQP_BINARY:0g":                                 adapters.IDString,
		"ID:AMQP_UUID:550e8400-e29b-41d4-a716-446655440000": adapters.IDUUID,
		"ID:AMQP_UUID:550E8400-E29B-41D4-A716-446655440000": adapters.IDString,
		"ID:AMQP_UUID:550e8400e29b41d4a716446655440000":     adapters.IDString,
		"ID:AMQP_UUID:550e8400-e29b-41d4-a716-44665544000":  adapters.IDString,
		"ID:AMQP_UUID:{50e8400-e29b-41d4-a716-446655440000": adapters.IDString,
		"ID:AMQP_OTHER:7":                                   adapters.IDString,
		"order-7":                                           adapters.IDString,
	} {
		id, ok := ParseID(text)
		if id.Form != form {
			t.Errorf("%s: form %v, want %v", text, id.Form, form)
		}
		if form == adapters.IDString && id.S != text || ok && FormatCorrID(id) != text {
			t.Errorf("%s: read as %+v, written as %s", text, id, FormatCorrID(id))
		}
	}
}

// TestOpenValue: only the shortest encoding of a string or binary is opened, because the way back writes that one.
func TestOpenValue(t *testing.T) {
	long := strings.Repeat("x", 256)
	for enc, want := range map[string]string{
		"\xa1\x02hi": "text hi", "\xa1\x00": "text ", "\xa0\x02\x00\xff": "data \x00\xff",
		"\xb1\x00\x00\x01\x00" + long: "text " + long, "\xb0\x00\x00\x01\x00" + long: "data " + long,
		"": "", "\xa1": "", "\xb1\x00\x00": "", "\xb0\x00\x00\x00": "", "\x54\x01": "",
		"\xa1\x03hi": "", "\xa1\x01hi": "", // says another length than it has
		"\xb1\x00\x00\x00\x02hi": "", // longer than needed
		"\xa1\x01\xff":           "", // no UTF-8
		"\xa0\x01\xff":           "data \xff",
		"\xa1\xff" + long:        "",
	} {
		data, text, ok := openValue([]byte(enc))
		got := map[bool]string{true: "text ", false: "data "}[text] + string(data)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %q, want %q", enc, got, want)
		}
		if ok && !bytes.Equal(append(head(len(data), text), data...), []byte(enc)) {
			t.Errorf("%q does not come back", enc)
		}
	}
}

// TestValidTrace: W3C Trace Context, section 3.2.2.
func TestValidTrace(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for text, want := range map[string]bool{
		good:                                            true,
		"01" + good[2:] + "-more":                       true, // a later version may be longer
		"01" + good[2:] + "more":                        false,
		good + "-more":                                  false, // version 00 may not
		"ff" + good[2:]:                                 false,
		strings.ToUpper(good):                           false,
		good[:54]:                                       false,
		strings.Replace(good, "-b7", "_b7", 1):          false,
		strings.Replace(good, "0af", "0-f", 1):          false,
		strings.Replace(good, "0af", "0gf", 1):          false,
		"00-" + strings.Repeat("0", 32) + good[35:]:     false,
		good[:36] + strings.Repeat("0", 16) + good[52:]: false,
		"": false,
	} {
		if got := validTrace(adapters.String(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
		if got := validTrace(adapters.Bytes([]byte(text))); got != want {
			t.Errorf("%s as bytes: %t", text, got)
		}
	}
	if validTrace(adapters.Int(adapters.TI32, 5)) {
		t.Error("a number is a trace")
	}
}
