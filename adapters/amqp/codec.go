package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/posthouse/posthouse/adapters"
)

// Bounds against hostile input: the nesting a value may have, the elements of an array whose elements take no bytes, and
// the values of one message outside of its body. Built, a value takes some fifty times the byte that may stand for it.
const (
	maxDepth     = 32
	maxZeroWidth = 1 << 12
	maxValues    = 1 << 17
)

var (
	errShort = errors.New("ends in the middle of a value")
	errDepth = fmt.Errorf("values are nested deeper than %d", maxDepth)
	errArray = errors.New("an array claims more elements than it can hold")

	errValues = fmt.Errorf("more than %d values in headers, annotations and properties", maxValues)
)

// A decoder reads values from b. Strings are cut out of s, a copy of b or of its beginning made once, so that a message
// costs one allocation for all its texts. The first error sticks; after it every result is zero.
type decoder struct {
	b   []byte
	s   string
	i   int
	err error

	values int // built so far
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.i = len(d.b)
}

// take moves n bytes on and returns where they begin; ok is false when there are not so many.
func (d *decoder) take(n uint64) (at int, ok bool) {
	if d.err != nil || n > uint64(len(d.b)-d.i) {
		d.fail(errShort)
		return 0, false
	}
	at = d.i
	d.i += int(n)
	return at, true
}

// uint reads n bytes, 1 to 8, big-endian.
func (d *decoder) uint(n uint64) uint64 {
	if n == 1 {
		return uint64(d.code())
	}
	at, ok := d.take(n)
	if !ok {
		return 0
	}
	var v uint64
	for _, c := range d.b[at:d.i] {
		v = v<<8 | uint64(c)
	}
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	at, ok := d.take(n)
	if !ok {
		return nil
	}
	return d.b[at:d.i:d.i]
}

func (d *decoder) text(n uint64) string {
	at, ok := d.take(n)
	if !ok {
		return ""
	}
	if d.i > len(d.s) { // a text behind the body
		d.s = string(d.b)
	}
	return d.s[at:d.i]
}

// code reads one byte, most often a format code. Behind an error i is at the end.
func (d *decoder) code() byte {
	if d.i >= len(d.b) {
		d.fail(errShort)
		return 0
	}
	d.i++
	return d.b[d.i-1]
}

// peek is the next format code without moving, or null at the end.
func (d *decoder) peek() byte {
	if d.err != nil || d.i >= len(d.b) {
		return codeNull
	}
	return d.b[d.i]
}

// value reads one value with its constructor. A described value is read as what it describes.
func (d *decoder) value(depth int) adapters.Value { return d.body(d.code(), depth) }

// body reads the value that follows the format code c.
func (d *decoder) body(c byte, depth int) adapters.Value {
	if !d.may(depth) {
		return adapters.Null()
	}
	if c == codeStr8 { // most are
		return adapters.String(d.text(uint64(d.code())))
	}
	switch c >> 4 {
	case 0x0:
		if c == codeDescribed {
			d.skip(depth + 1)
			return d.value(depth + 1)
		}
	case 0x4, 0x5, 0x6, 0x7, 0x8, 0x9:
		return d.fixed(c)
	case 0xa, 0xb:
		return d.variable(c)
	case 0xc, 0xd:
		return d.compound(c, depth)
	case 0xe, 0xf:
		return d.array(c, depth)
	}
	d.fail(fmt.Errorf("unknown format code 0x%02x", c))
	return adapters.Null()
}

// may counts a value that is to be built and reports whether that is within the limits.
func (d *decoder) may(depth int) bool {
	if depth > maxDepth {
		d.fail(errDepth)
	}
	if d.values++; d.values > maxValues {
		d.fail(errValues)
	}
	return d.err == nil
}

// fixed reads the primitives whose width is in the code.
func (d *decoder) fixed(c byte) adapters.Value {
	switch c {
	case codeNull:
		return adapters.Null()
	case codeTrue, codeFalse:
		return adapters.Bool(c == codeTrue)
	case codeBool:
		return adapters.Bool(d.uint(1) != 0)
	case codeList0:
		return adapters.List()
	case codeFloat:
		return adapters.Float32(math.Float32frombits(uint32(d.uint(4))))
	case codeDouble:
		return adapters.Float64(math.Float64frombits(d.uint(8)))
	case codeTime:
		return adapters.Time(int64(d.uint(8)))
	case codeUUID:
		var u [16]byte
		copy(u[:], d.bytes(16))
		return adapters.UUID(u)
	case codeDec32, codeDec64, codeDec128:
		return adapters.Decimal(decimalText(d.bytes(width(c))))
	}
	return d.integer(c)
}

func (d *decoder) integer(c byte) adapters.Value {
	switch c {
	case codeUint0:
		return adapters.Uint(adapters.TU32, 0)
	case codeUlong0:
		return adapters.Uint(adapters.TU64, 0)
	case codeUbyte:
		return adapters.Uint(adapters.TU8, d.uint(1))
	case codeUshort:
		return adapters.Uint(adapters.TU16, d.uint(2))
	case codeUint8, codeUint:
		return adapters.Uint(adapters.TU32, d.uint(width(c)))
	case codeUlong8, codeUlong:
		return adapters.Uint(adapters.TU64, d.uint(width(c)))
	case codeChar:
		return adapters.Uint(adapters.TChar, d.uint(4))
	case codeByte:
		return adapters.Int(adapters.TI8, int64(int8(d.uint(1))))
	case codeShort:
		return adapters.Int(adapters.TI16, int64(int16(d.uint(2))))
	case codeInt8:
		return adapters.Int(adapters.TI32, int64(int8(d.uint(1))))
	case codeInt:
		return adapters.Int(adapters.TI32, int64(int32(d.uint(4))))
	case codeLong8:
		return adapters.Int(adapters.TI64, int64(int8(d.uint(1))))
	case codeLong:
		return adapters.Int(adapters.TI64, int64(d.uint(8)))
	}
	d.fail(fmt.Errorf("unknown format code 0x%02x", c))
	return adapters.Null()
}

func (d *decoder) variable(c byte) adapters.Value {
	n := d.uint(sizeWidth(c))
	switch c {
	case codeBin8, codeBin32:
		return adapters.Bytes(d.bytes(n))
	case codeStr8, codeStr32:
		return adapters.String(d.text(n))
	case codeSym8, codeSym32:
		return adapters.Symbol(d.text(n))
	}
	d.fail(fmt.Errorf("unknown format code 0x%02x", c))
	return adapters.Null()
}

// enter reads size and count of a compound or array and returns the count and where it ends.
func (d *decoder) enter(c byte) (count uint64, end int) {
	if c == codeList0 {
		return 0, d.i
	}
	w := sizeWidth(c)
	size := d.uint(w)
	start := d.i
	count = d.uint(w)
	if d.err != nil || size < w || size > uint64(len(d.b)-start) {
		d.fail(errShort)
		return 0, d.i
	}
	return count, start + int(size)
}

// leave checks that a compound took exactly the bytes it said.
func (d *decoder) leave(end int) {
	if d.err == nil && d.i != end {
		d.fail(errors.New("a list or map is not as long as it says"))
	}
}

func (d *decoder) compound(c byte, depth int) adapters.Value {
	count, end := d.enter(c)
	if d.err != nil || count > uint64(end-d.i) { // every element takes a byte at least
		d.fail(errArray)
		return adapters.Null()
	}
	switch c {
	case codeList8, codeList32:
		vs := make([]adapters.Value, 0, min(count, 64))
		for n := uint64(0); n < count && d.err == nil; n++ {
			vs = append(vs, d.value(depth+1))
		}
		d.leave(end)
		return adapters.List(vs...)
	case codeMap8, codeMap32:
		es := make([]adapters.Entry, 0, min(count/2, 64))
		for n := uint64(0); n < count/2 && d.err == nil; n++ {
			k := d.value(depth + 1)
			es = append(es, adapters.Entry{K: k, V: d.value(depth + 1)})
		}
		d.leave(end)
		return adapters.Map(es...)
	}
	d.fail(fmt.Errorf("unknown format code 0x%02x", c))
	return adapters.Null()
}

// array reads an array as a list: the canonical form has no arrays.
func (d *decoder) array(c byte, depth int) adapters.Value {
	if c != codeArray8 && c != codeArray32 {
		d.fail(fmt.Errorf("unknown format code 0x%02x", c))
		return adapters.Null()
	}
	count, end := d.enter(c)
	elem := d.code()
	if elem == codeDescribed {
		d.skip(depth + 1)
		elem = d.code()
	}
	if d.err != nil || count > uint64(max(end-d.i, maxZeroWidth)) {
		d.fail(errArray)
		return adapters.Null()
	}
	var vs []adapters.Value
	for n := uint64(0); n < count && d.err == nil; n++ {
		vs = append(vs, d.body(elem, depth+1))
	}
	d.leave(end)
	return adapters.List(vs...)
}

// skip moves over one value without building it.
func (d *decoder) skip(depth int) {
	if depth > maxDepth {
		d.fail(errDepth)
	}
	c := d.code()
	switch {
	case d.err != nil:
	case c == codeDescribed:
		d.skip(depth + 1)
		d.skip(depth + 1)
	case c>>4 >= 0xa:
		d.take(d.uint(sizeWidth(c)))
	case c>>4 >= 0x4 && c>>4 <= 0x9:
		d.take(width(c))
	default:
		d.fail(fmt.Errorf("unknown format code 0x%02x", c))
	}
}

// appendValue writes v in the shortest encoding of its type.
func appendValue(b []byte, v adapters.Value) []byte {
	switch t := v.Type(); t {
	case adapters.TNull:
		return append(b, codeNull)
	case adapters.TBool:
		return appendBool(b, v.Bool())
	case adapters.TString:
		return appendString(b, v.Str())
	case adapters.TSymbol:
		return appendVariable(b, codeSym8, v.Str())
	case adapters.TBytes:
		return appendVariable(b, codeBin8, v.Str())
	case adapters.TUUID:
		return append(append(b, codeUUID), v.Str()...)
	case adapters.TDecimal:
		return appendDecimal(b, v.Str())
	case adapters.TF32:
		return binary.BigEndian.AppendUint32(append(b, codeFloat), math.Float32bits(float32(v.Float())))
	case adapters.TF64:
		return binary.BigEndian.AppendUint64(append(b, codeDouble), math.Float64bits(v.Float()))
	case adapters.TList:
		return appendCompound(b, codeList32, len(v.List()), func(b []byte) []byte {
			for _, e := range v.List() {
				b = appendValue(b, e)
			}
			return b
		})
	case adapters.TMap:
		return appendCompound(b, codeMap32, 2*len(v.Map()), func(b []byte) []byte {
			for _, e := range v.Map() {
				b = appendValue(appendValue(b, e.K), e.V)
			}
			return b
		})
	default:
		return appendInteger(b, t, v)
	}
}

func appendInteger(b []byte, t adapters.Type, v adapters.Value) []byte {
	switch t {
	case adapters.TI8:
		return append(b, codeByte, byte(v.Int()))
	case adapters.TI16:
		return binary.BigEndian.AppendUint16(append(b, codeShort), uint16(v.Int()))
	case adapters.TI32:
		if n := v.Int(); n == int64(int8(n)) {
			return append(b, codeInt8, byte(n))
		}
		return binary.BigEndian.AppendUint32(append(b, codeInt), uint32(v.Int()))
	case adapters.TI64:
		if n := v.Int(); n == int64(int8(n)) {
			return append(b, codeLong8, byte(n))
		}
		return binary.BigEndian.AppendUint64(append(b, codeLong), uint64(v.Int()))
	case adapters.TU8:
		return append(b, codeUbyte, byte(v.Uint()))
	case adapters.TU16:
		return binary.BigEndian.AppendUint16(append(b, codeUshort), uint16(v.Uint()))
	case adapters.TU32:
		return appendUint(b, uint32(v.Uint()))
	case adapters.TU64:
		return appendUlong(b, v.Uint())
	case adapters.TChar:
		return binary.BigEndian.AppendUint32(append(b, codeChar), uint32(v.Uint()))
	case adapters.TTime:
		return appendTime(b, v.Int())
	}
	return append(b, codeNull)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, codeTrue)
	}
	return append(b, codeFalse)
}

func appendUint(b []byte, n uint32) []byte {
	switch {
	case n == 0:
		return append(b, codeUint0)
	case n < 256:
		return append(b, codeUint8, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, codeUint), n)
}

func appendUlong(b []byte, n uint64) []byte {
	switch {
	case n == 0:
		return append(b, codeUlong0)
	case n < 256:
		return append(b, codeUlong8, byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, codeUlong), n)
}

func appendTime(b []byte, ms int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, codeTime), uint64(ms))
}

func appendString(b []byte, s string) []byte { return appendVariable(b, codeStr8, s) }

// appendVariable writes s under the short code c, or under the long one, which is 0x10 above it.
func appendVariable[T string | []byte](b []byte, c byte, s T) []byte {
	if len(s) < 256 {
		return append(append(b, c, byte(len(s))), s...)
	}
	return append(binary.BigEndian.AppendUint32(append(b, c+0x10), uint32(len(s))), s...)
}

// appendCompound writes a list or map of count elements; its size is put in when the elements are there.
func appendCompound(b []byte, c byte, count int, elements func([]byte) []byte) []byte {
	b = append(b, c, 0, 0, 0, 0)
	at := len(b)
	b = elements(binary.BigEndian.AppendUint32(b, uint32(count)))
	binary.BigEndian.PutUint32(b[at-4:], uint32(len(b)-at))
	return b
}
