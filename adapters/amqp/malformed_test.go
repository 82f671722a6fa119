package amqp

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// section is one section of a message: its descriptor in the short form, then the rest.
func section(code byte, rest ...byte) []byte {
	return append([]byte{codeDescribed, codeUlong8, code}, rest...)
}

// compound32 is a list, map or array of the long form around what has been encoded.
func compound32(code byte, count int, elements []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{code}, uint32(len(elements)+4))
	return append(binary.BigEndian.AppendUint32(b, uint32(count)), elements...)
}

// oneProperty is a message with the application property a of an encoded value.
func oneProperty(value []byte) []byte {
	return section(secApp, compound32(codeMap32, 2, append([]byte{codeStr8, 1, 'a'}, value...))...)
}

// TestMalformed: each way to break the encoding is an error that says so, and nothing worse.
func TestMalformed(t *testing.T) {
	for name, c := range map[string]struct {
		raw  []byte
		says string
	}{
		"no descriptor":              {[]byte{codeList0}, "without a descriptor"},
		"odd descriptor":             {[]byte{codeDescribed, codeTrue, codeNull}, "unknown descriptor"},
		"unknown symbol":             {[]byte{codeDescribed, codeSym8, 1, 'x', codeNull}, "unknown descriptor"},
		"unknown section":            {section(0x11, codeNull), "unknown section 0x11"},
		"header no list":             {section(secHeader, codeTrue), "not a list"},
		"annotations no map":         {section(secMessage, codeTrue), ""},
		"null properties":            {section(secApp, codeNull), "-"},
		"data no binary":             {section(secData, codeStr8, 1, 'x'), "not binary"},
		"sequence no list":           {section(secSequence, codeTrue), "not a list"},
		"two values":                 {append(section(secValue, codeTrue), section(secValue, codeTrue)...), "different kinds"},
		"data and value":             {append(section(secData, codeBin8, 0), section(secValue, codeTrue)...), "different kinds"},
		"ends in a size":             {section(secData, codeBin32, 0, 0), "ends in the middle"},
		"ends in a value":            {section(secData, codeBin8, 3, 1), "ends in the middle"},
		"no value at all":            {section(secValue), "ends in the middle"},
		"longer than the message":    {section(secApp, codeMap8, 200, 0), "ends in the middle"},
		"shorter than it says":       {oneProperty(compound32(codeList32, 1, []byte{codeTrue, codeTrue})), "not as long as it says"},
		"elements out of nowhere":    {oneProperty(compound32(codeList32, 1<<30, []byte{codeTrue})), "more elements"},
		"map out of nowhere":         {section(secApp, codeMap8, 2, 200, codeNull), "more elements"},
		"array out of nowhere":       {oneProperty(compound32(codeArray32, 1<<30, []byte{codeNull})), "more elements"},
		"array of described":         {oneProperty(compound32(codeArray32, 2, []byte{codeDescribed, codeUlong8, 1, codeBool, 1, 0})), "-"},
		"array of short texts":       {oneProperty(compound32(codeArray32, 2, []byte{codeStr8, 1, 'a'})), "ends in the middle"},
		"unknown fixed code":         {oneProperty([]byte{0x5f, 1}), "unknown format code 0x5f"},
		"unknown variable code":      {oneProperty([]byte{0xaf, 0}), "unknown format code 0xaf"},
		"unknown compound code":      {oneProperty([]byte{0xcf, 2, 0, 0}), "unknown format code 0xcf"},
		"unknown array code":         {oneProperty([]byte{0xef, 2, 0, codeNull}), "unknown format code 0xef"},
		"unknown class":              {oneProperty([]byte{0x1f}), "unknown format code 0x1f"},
		"unknown in what is skipped": {section(secDelivery, 0x1f), "unknown format code 0x1f"},
		"deep list":                  {oneProperty(nested(maxDepth + 1)), "nested deeper"},
		"deep list in time":          {oneProperty(nested(maxDepth - 2)), "-"},
		"deep descriptors":           {section(secValue, bytes.Repeat([]byte{codeDescribed}, maxDepth+2)...), "nested deeper"},
		"deep descriptors of one":    {oneProperty(bytes.Repeat([]byte{codeDescribed}, maxDepth+2)), "nested deeper"},
	} {
		m, _, err := decode(c.raw, received)
		switch {
		case c.says == "-" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.says != "-" && (err == nil || m != nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want an error with %q", name, err, c.says)
		}
	}
}

// nested is a list in a list in a list.
func nested(depth int) []byte {
	b := []byte{codeList0}
	for range depth {
		b = compound32(codeList32, 1, b)
	}
	return b
}

// TestHostileMessageIsCheap: a megabyte that stands for gigabytes of values is refused before they are built.
func TestHostileMessageIsCheap(t *testing.T) {
	zeros := compound32(codeArray32, maxZeroWidth, []byte{codeNull})
	nulls := bytes.Repeat([]byte{codeNull}, 1<<20)
	for name, value := range map[string][]byte{
		"arrays of nothing": compound32(codeList32, 100_000, bytes.Repeat(zeros, 100_000)),
		"a list of nulls":   compound32(codeList32, len(nulls), nulls),
		"a map of nulls":    compound32(codeMap32, len(nulls), nulls),
		"an array of bytes": compound32(codeArray32, len(nulls)-1, slices.Concat([]byte{codeUbyte}, nulls[1:])),
	} {
		raw := oneProperty(value)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := decode(raw, received)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d bytes of message took %d MiB", name, len(raw), used>>20)
		}
	}
}

// TestSymbolicDescriptors: other people's encoders write the names of sections instead of their numbers.
func TestSymbolicDescriptors(t *testing.T) {
	named := func(name string, rest ...byte) []byte {
		return append(append([]byte{codeDescribed, codeSym8, byte(len(name))}, name...), rest...)
	}
	props := compound32(codeMap32, 2, []byte{codeStr8, 1, 'a', codeTrue})
	raw := slices.Concat(named("amqp:header:list", codeList8, 2, 1, codeTrue), named("amqp:delivery-annotations:map", props...),
		named("amqp:message-annotations:map", compound32(codeMap32, 2, []byte{codeSym8, 1, 'm', codeTrue})...),
		named("amqp:properties:list", codeList8, 4, 1, codeStr8, 1, 'i'), named("amqp:application-properties:map", props...),
		named("amqp:data:binary", codeBin8, 1, 'x'), named("amqp:footer:map", compound32(codeMap32, 2, []byte{codeSym8, 1, 'f', codeTrue})...))
	yes := adapters.Bool(true)
	want := &adapters.Message{ID: adapters.StringID("i"), Durable: adapters.Yes, Received: received,
		Props: []adapters.Prop{{Name: "a", V: yes}},
		Annot: adapters.Annot{MA: []adapters.Prop{{Name: "m", V: yes}}, Footer: []adapters.Prop{{Name: "f", V: yes}}},
		Body:  adapters.Body{Form: adapters.BodyBytes, Data: []byte("x")}}
	m, _, err := decode(raw, received)
	if err != nil {
		t.Fatal(err)
	}
	same(t, m, want)
	for name, form := range map[string]adapters.BodyForm{"amqp:amqp-value:*": adapters.BodyValue, "amqp:amqp-sequence:list": adapters.BodySequence} {
		if m, _, err := decode(named(name, codeList0), received); err != nil || m.Body.Form != form {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestCapabilitiesFollowDialect: an end claims what the broker of its dialect can do, and no more.
func TestCapabilitiesFollowDialect(t *testing.T) {
	type claim struct {
		topicSource, topicTarget, confirmed, aside bool
		class                                      adapters.Class
		lists, annotations, user, key, uuids       bool
	}
	for dialect, want := range map[string]claim{
		"":           {topicSource: true, topicTarget: true, lists: true, annotations: true, user: true, uuids: true},
		"generic":    {topicSource: true, topicTarget: true, annotations: true, user: true, uuids: true},
		"artemis":    {topicSource: true, topicTarget: true, aside: true, class: adapters.ClassWindow, lists: true, annotations: true, user: true, uuids: true},
		"rabbitmq":   {topicTarget: true, confirmed: true, lists: true, annotations: true, uuids: true},
		"servicebus": {topicSource: true, topicTarget: true, aside: true, lists: true, annotations: true, user: true, key: true, uuids: true},
		"qpid":       {topicSource: true, topicTarget: true, lists: true, annotations: true, user: true, uuids: true},
		"ibmmq":      {topicSource: true, topicTarget: true, user: true},
	} {
		c := New().Capabilities(adapters.Config{Options: adapters.Options{"dialect": dialect}})
		h := c.Headers
		got := claim{slices.Contains(c.Sources, adapters.Topic), slices.Contains(c.Targets, adapters.Topic), c.SettleConfirmed, c.RejectAside, c.Target,
			h.Bodies.Has(adapters.BodySequence), h.Fields.Has(adapters.FieldAnnotations), h.Fields.Has(adapters.FieldUserID),
			h.Fields.Has(adapters.FieldKey), h.IDs.Has(adapters.IDUUID)}
		if got != want {
			t.Errorf("%q: %+v, want %+v", dialect, got, want)
		}
	}
}

// TestRejectionKinds: what a rejection means for the message (part 2, section 2.8.14 to 2.8.18).
func TestRejectionKinds(t *testing.T) {
	for condition, want := range map[string]adapters.Kind{
		"amqp:resource-limit-exceeded": adapters.Full, "amqp:not-found": adapters.NotFound, "amqp:resource-deleted": adapters.NotFound,
		"amqp:unauthorized-access": adapters.Denied, "amqp:not-allowed": adapters.Denied,
		"amqp:link:message-size-exceeded": adapters.Permanent, "amqp:decode-error": adapters.Permanent, "amqp:invalid-field": adapters.Permanent,
		"amqp:not-implemented": adapters.Permanent, "amqp:precondition-failed": adapters.Permanent,
		"amqp:internal-error": adapters.Transient, "amqp:resource-locked": adapters.Transient, "amqp:illegal-state": adapters.Transient,
		"vendor:whatever": adapters.Permanent,
	} {
		if got := rejectKind(&amqp.Error{Condition: amqp.ErrCond(condition)}); got != want {
			t.Errorf("%s: %v, want %v", condition, got, want)
		}
	}
}

// TestIDsWithoutUUIDs: a broker that takes strings and bytes only gets the text form of the others.
func TestIDsWithoutUUIDs(t *testing.T) {
	uuid := adapters.ID{Form: adapters.IDUUID, B: []byte{0x55, 0x0e, 0x84, 0, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0, 0}}
	for _, c := range []struct {
		id   adapters.ID
		want adapters.Value
	}{
		{adapters.ID{Form: adapters.IDULong, U: 42}, adapters.String("ID:AMQP_ULONG:42")},
		{uuid, adapters.String("ID:AMQP_UUID:550e8400-e29b-41d4-a716-446655440000")},
		{adapters.ID{Form: adapters.IDUUID, B: []byte{1}}, adapters.Bytes([]byte{1})}, // no UUID, whatever it says
		{adapters.ID{Form: adapters.IDBytes, B: []byte{1}}, adapters.Bytes([]byte{1})},
		{adapters.StringID("x"), adapters.String("x")},
	} {
		if got := ibmMQ().id(c.id); got.Type() != c.want.Type() || got.Text() != c.want.Text() {
			t.Errorf("%+v: %v %s, want %s", c.id, got.Type(), got.Text(), c.want.Text())
		}
	}
	if got := artemis().id(uuid); got.Type() != adapters.TUUID {
		t.Errorf("artemis: %v", got.Type())
	}
}
