package qmgr

import (
	"regexp"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// A Property is one of a message. Value is as the MQI has it: numbers little-endian, strings in UTF-8, a boolean of four
// bytes.
type Property struct {
	Name                     string // with its folder, unless that is usr
	Type                     int32  // MQTYPE
	Value                    []byte
	Support, Context, Copies int32 // of its descriptor
}

// bag is what a message handle holds.
type bag struct {
	props  []Property
	cursor int // of the last property inquired, -1 before the first
}

// createHandle is MQCRTMH.
func (c *conn) createHandle(_ *request, out *reply) code {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.handles++
	c.m.ids++
	number := int64(c.m.ids)
	c.messages[number] = &bag{cursor: -1}
	out.handle(number)
	return done
}

// deleteHandle is MQDLTMH.
func (c *conn) deleteHandle(in *request, _ *reply) code {
	number := in.handle()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.messages[number] == nil {
		return failed(mqc.RC_HMSG_ERROR)
	}
	delete(c.messages, number)
	c.m.handles--
	return done
}

// synonyms are the names by which JMS calls what is in other folders; no other name that begins with JMS may be set.
var synonyms = map[string]string{"JMSCorrelationID": "jms.Cid", "JMSReplyTo": "jms.Rto", "JMSType": "mcd.Type",
	"JMSXGroupID": "jms.Gid", "JMSXGroupSeq": "jms.Seq"}

// properName says what a property is called here, and whether it may be called so.
func properName(name string) (string, bool) {
	name = strings.TrimPrefix(name, "usr.")
	if s := synonyms[name]; s != "" {
		return s, true
	}
	if len(name) > 4095 || strings.HasPrefix(name, "JMS") || reserved.MatchString(name) {
		return name, false
	}
	return name, identifiers.MatchString(name)
}

var (
	identifiers = regexp.MustCompile(`^[\pL_$][\pL\pN_$]*(\.[\pL_$][\pL\pN_$]*)*$`)
	reserved    = regexp.MustCompile(`(?i)^(NULL|TRUE|FALSE|NOT|AND|OR|BETWEEN|LIKE|IN|IS|ESCAPE)$|^(Body|Root|mq)\.`)
)

// widths are the lengths that values of a type must have.
var widths = map[int32]int{mqc.TYPE_BOOLEAN: 4, mqc.TYPE_INT8: 1, mqc.TYPE_INT16: 2, mqc.TYPE_INT32: 4, mqc.TYPE_INT64: 8,
	mqc.TYPE_FLOAT32: 4, mqc.TYPE_FLOAT64: 8, mqc.TYPE_NULL: 0}

// setProperty is MQSETMP.
func (c *conn) setProperty(in *request, _ *reply) code {
	b := c.bag(in.handle())
	options := longs(in.bytes())
	name, valid := properName(in.text())
	var pd propertyDesc
	read(&pd, in.bytes())
	p := Property{Name: name, Type: in.long(), Value: slices.Clone(in.bytes()), Support: pd.support, Context: pd.context, Copies: pd.copies}
	width, fixed := widths[p.Type]
	switch {
	case b == nil:
		return failed(mqc.RC_HMSG_ERROR)
	case !valid:
		return failed(mqc.RC_PROPERTY_NAME_ERROR)
	case !fixed && p.Type != mqc.TYPE_STRING && p.Type != mqc.TYPE_BYTE_STRING:
		return failed(mqc.RC_PROPERTY_TYPE_ERROR)
	case fixed && len(p.Value) != width:
		return failed(mqc.RC_BUFFER_LENGTH_ERROR)
	}
	b.set(p, len(options) > 2 && options[2] == mqc.SMPO_APPEND_PROPERTY)
	return done
}

func (c *conn) bag(number int64) *bag {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.messages[number]
}

// set replaces the first property of that name, or adds it.
func (b *bag) set(p Property, add bool) {
	i := b.index(p.Name, 0)
	if i < 0 || add {
		b.props = append(b.props, p)
		return
	}
	b.props[i] = p
}

// index finds the first property from i on that name wants: % at the end stands for anything.
func (b *bag) index(name string, i int) int {
	prefix, wild := strings.CutSuffix(name, "%")
	for ; i < len(b.props); i++ {
		if b.props[i].Name == name || wild && strings.HasPrefix(b.props[i].Name, prefix) {
			return i
		}
	}
	return -1
}

// deleteProperty is MQDLTMP.
func (c *conn) deleteProperty(in *request, _ *reply) code {
	b := c.bag(in.handle())
	name, _ := properName(in.text())
	if b == nil {
		return failed(mqc.RC_HMSG_ERROR)
	}
	i := b.index(name, 0)
	if i < 0 {
		return warning(mqc.RC_PROPERTY_NOT_AVAILABLE)
	}
	b.props = slices.Delete(b.props, i, i+1)
	return done
}

// inquireProperty is MQINQMP.
func (c *conn) inquireProperty(in *request, out *reply) code {
	b := c.bag(in.handle())
	raw := in.bytes()
	var o inquireOptions
	read(&o, raw)
	name := in.text()
	room := int(in.long())
	if b == nil {
		return failed(mqc.RC_HMSG_ERROR)
	}
	i := b.wanted(name, o.options)
	if i < 0 {
		return failed(mqc.RC_PROPERTY_NOT_AVAILABLE)
	}
	b.cursor = i
	p := b.props[i]
	o.gotEncoding, o.gotCCSID = mqc.ENC_NATIVE, 1208
	pd := propertyDesc{version: 1, support: p.Support, context: p.Context, copies: p.Copies}
	out.bytes(write(&o, raw))
	out.bytes([]byte(p.Name))
	out.bytes(write(&pd, []byte("PD  "+strings.Repeat("\x00", 20))))
	out.long(p.Type)
	out.bytes(p.Value[:min(len(p.Value), room)])
	out.long(int32(len(p.Value)))
	switch {
	case o.nameSize > 0 && len(p.Name) > int(o.nameSize):
		return failed(mqc.RC_PROPERTY_NAME_TOO_BIG)
	case len(p.Value) > room && o.options&mqc.IMPO_QUERY_LENGTH == 0:
		return failed(mqc.RC_PROPERTY_VALUE_TOO_BIG)
	}
	return done
}

// wanted finds the property that an inquiry means, -1 if there is none.
func (b *bag) wanted(name string, options int32) int {
	if s := synonyms[name]; s != "" {
		name = s
	}
	switch {
	case options&mqc.IMPO_INQ_PROP_UNDER_CURSOR != 0:
		return min(b.cursor, len(b.props)-1)
	case options&mqc.IMPO_INQ_NEXT != 0:
		return b.index(name, b.cursor+1)
	}
	return b.index(name, 0)
}
