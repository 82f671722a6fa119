package bridge

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/amqp091"
	"github.com/posthouse/posthouse/adapters/ibmmq"
	"github.com/posthouse/posthouse/adapters/kafka"
	"github.com/posthouse/posthouse/adapters/mqtt"
	"github.com/posthouse/posthouse/adapters/nats"
	"github.com/posthouse/posthouse/adapters/stomp"
)

// A record is what a Kafka record and a NATS message are made of, for the text of vectors.
type record struct {
	Key     string
	Null    bool // the value
	Headers [][2]string
	Time    int64
}

// raw makes a message of the text of a wire form at the end called name.
func decodeRaw(name string, lines []string) (*adapters.Message, error) {
	switch base, _, _ := strings.Cut(name, "-"); base {
	case "mq":
		var w ibmmq.Wire
		err := setWire(&w, lines)
		return ibmmq.Decode(w, baseTime), err
	case "amqp091":
		var w amqp091.Wire
		err := setWire(&w, lines)
		return amqp091.Decode(w, baseTime), err
	case "mqtt":
		var w mqtt.Wire
		err := setWire(&w, lines)
		return mqtt.Decode(w, baseTime), err
	case "stomp":
		var w stomp.Wire
		err := setWire(&w, lines)
		return stomp.Decode(w, stompDialect(name), baseTime), err
	case "kafka":
		var r record
		err := setWire(&r, lines)
		c := &sarama.ConsumerMessage{Key: []byte(r.Key), Value: []byte{}}
		for _, h := range r.Headers {
			c.Headers = append(c.Headers, &sarama.RecordHeader{Key: []byte(h[0]), Value: []byte(h[1])})
		}
		if c.Key = []byte(r.Key); r.Key == "" {
			c.Key = nil
		}
		if r.Null {
			c.Value = nil
		}
		m := kafka.Decode(c, conventionOf(name))
		m.Received = baseTime
		return m, err
	}
	return nil, fmt.Errorf("no raw form of %s", name)
}

// encodeRaw is the text of what encode makes of a fitted message.
func encodeRaw(name string, m *adapters.Message) ([]string, error) {
	switch base, _, _ := strings.Cut(name, "-"); base {
	case "mq":
		w, err := ibmmq.Encode(m, ibmmq.Options{SetContext: name == "mq-context"})
		return dumpWire(w), err
	case "amqp091":
		return dumpWire(amqp091.Encode(m)), nil
	case "mqtt":
		return dumpWire(mqtt.Encode(m)), nil
	case "stomp":
		w := stomp.Encode(m, stompDialect(name))
		lines := dumpWire(w)
		for l := range strings.Lines(string(w.AppendHeaders(nil))) {
			lines = append(lines, "line "+strings.TrimSuffix(l, "\n"))
		}
		return lines, nil
	case "kafka":
		c := asConsumed(kafka.Encode(m, conventionOf(name), time.UnixMilli(baseTime)))
		r := record{Key: string(c.Key), Null: c.Value == nil, Time: c.Timestamp.UnixMilli()}
		for _, h := range c.Headers {
			r.Headers = append(r.Headers, [2]string{string(h.Key), string(h.Value)})
		}
		return dumpWire(r), nil
	case "nats":
		h, err := nats.Encode(m, name == "nats-ttl")
		return dumpWire(record{Headers: pairs(h)}), err
	}
	return nil, nil
}

func pairs(h natsgo.Header) (out [][2]string) {
	for name, vs := range h {
		for _, v := range vs {
			out = append(out, [2]string{name, v})
		}
	}
	return out
}

// dumpWire is one line for each field that is not zero: NAME VALUE, strings quoted, ids in hex; pair "A" "B" and prop "NAME"
// CODE:TEXT for lists.
func dumpWire(w any) (lines []string) {
	walkWire(reflect.ValueOf(w), "", func(name string, v reflect.Value) {
		switch x := v.Interface().(type) {
		case [24]byte:
			lines = append(lines, name+" "+hex.EncodeToString(x[:]))
		case []byte:
			lines = append(lines, fmt.Sprintf("%s %q", name, x))
		case string:
			lines = append(lines, fmt.Sprintf("%s %q", name, x))
		case [][2]string:
			for _, p := range x {
				lines = append(lines, fmt.Sprintf("pair %q %q", p[0], p[1]))
			}
		case []adapters.Prop:
			for i := range x {
				lines = append(lines, propDump("prop", &x[i]))
			}
		default:
			lines = append(lines, fmt.Sprintf("%s %v", name, x))
		}
	})
	slices.Sort(lines)
	return lines
}

// walkWire calls each for the fields that are not zero, those of nested structs as OUTER.INNER.
func walkWire(v reflect.Value, prefix string, each func(string, reflect.Value)) {
	for i := range v.NumField() {
		f, name := v.Field(i), prefix+v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct:
			walkWire(f, name+".", each)
		case !f.IsZero():
			each(name, f)
		}
	}
}

// setWire reads the lines that dumpWire writes.
func setWire(w any, lines []string) error {
	for _, l := range lines {
		word, rest, _ := strings.Cut(l, " ")
		if err := setField(reflect.ValueOf(w).Elem(), word, rest); err != nil {
			return fmt.Errorf("raw %s: %w", l, err)
		}
	}
	return nil
}

func setField(v reflect.Value, word, rest string) error {
	switch word {
	case "pair":
		a, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return err
		}
		name, _ := strconv.Unquote(a)
		text, err := strconv.Unquote(strings.TrimSpace(rest[len(a):]))
		f := listField(v, reflect.TypeFor[[][2]string]())
		f.Set(reflect.Append(f, reflect.ValueOf([2]string{name, text})))
		return err
	case "prop":
		var m adapters.Message
		err := set(&m, word+" "+rest)
		f := listField(v, reflect.TypeFor[[]adapters.Prop]())
		f.Set(reflect.AppendSlice(f, reflect.ValueOf(m.Props)))
		return err
	}
	for name := range strings.SplitSeq(word, ".") {
		if v = v.FieldByName(name); !v.IsValid() {
			return fmt.Errorf("no field %s", name)
		}
	}
	return setScalar(v, rest)
}

func listField(v reflect.Value, t reflect.Type) reflect.Value {
	for i := range v.NumField() {
		if v.Field(i).Type() == t {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func setScalar(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		s, err := strconv.Unquote(text)
		v.SetString(s)
		return err
	case reflect.Slice:
		s, err := strconv.Unquote(text)
		v.SetBytes([]byte(s))
		return err
	case reflect.Array:
		b, err := hex.DecodeString(text)
		reflect.Copy(v, reflect.ValueOf(b))
		return err
	case reflect.Bool:
		v.SetBool(text == "true")
		return nil
	case reflect.Uint8, reflect.Uint32, reflect.Uint16:
		n, err := strconv.ParseUint(text, 10, 32)
		v.SetUint(n)
		return err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	v.SetInt(n)
	return err
}
