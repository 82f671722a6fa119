//go:build cgo && ibmmq

package mqi

/*
#include <stdlib.h>
#include <string.h>
#include "include/cmqc.h"

// first_or_next inquires the properties of a message in turn: with a name of % the first call finds the first one, and
// INQ_NEXT the one after that. Strings and names come as UTF-8, numbers in this machine's order.
static void first_or_next(MQHCONN conn, MQHMSG msg, MQLONG next, MQCHARV *found, MQPD *pd, MQLONG *type, void *value,
		MQLONG size, MQLONG *length, MQLONG *cc, MQLONG *rc) {
	MQCHARV every = {.VSPtr = "%", .VSLength = 1, .VSCCSID = 1208};
	MQIMPO impo = {.Version = MQIMPO_VERSION_1, .RequestedEncoding = MQENC_NATIVE, .RequestedCCSID = 1208, .ReturnedName = *found};
	memcpy(impo.StrucId, "IMPO", 4);
	memset(impo.TypeString, ' ', sizeof impo.TypeString);
	impo.Options = MQIMPO_CONVERT_VALUE | (next ? MQIMPO_INQ_NEXT : MQIMPO_INQ_FIRST);
	*pd = (MQPD){.Version = MQPD_VERSION_1};
	memcpy(pd->StrucId, "PD  ", 4);
	MQINQMP(conn, msg, &impo, &every, pd, type, size, value, length, cc, rc);
	*found = impo.ReturnedName;
}
*/
import "C"

import (
	"errors"
	"io"
	"unsafe"
)

// Sizes of the buffers at first, and how far they grow. A name has at most 4095 characters; the length of a value is
// bounded by that of a message.
const (
	nameSize, maxName   = 256, 4 * 4096
	valueSize, maxValue = 1024, 100 << 20
)

// A Cursor reads the properties of one message handle, the first to the last. The binding's own InqMP cannot: it offers
// room for 1024 bytes and fails on a longer value, and does not return the fields of the descriptor. A Cursor must be
// closed, and must not be used by two goroutines at once.
type Cursor struct {
	conn  C.MQHCONN
	msg   C.MQHMSG
	done  int // properties returned
	name  buffer
	value buffer
}

// buffer is memory that is not Go's, for the client library keeps pointers in structures.
type buffer struct {
	p    unsafe.Pointer
	size int
}

func (b *buffer) grow(size int) {
	C.free(b.p)
	b.p, b.size = C.malloc(C.size_t(size)), size
}

// NewCursor returns a cursor before the first property. conn and msg are the numbers of the handles (GetValue in the binding).
func NewCursor(conn int32, msg int64) *Cursor {
	c := &Cursor{conn: C.MQHCONN(conn), msg: C.MQHMSG(msg)}
	c.name.grow(nameSize)
	c.value.grow(valueSize)
	return c
}

// Close frees the cursor's memory, not the message handle.
func (c *Cursor) Close() error {
	C.free(c.name.p)
	C.free(c.value.p)
	c.name, c.value = buffer{}, buffer{}
	return nil
}

// Next returns the next property, or io.EOF behind the last one (MQRC 2471). Another error is a *ReasonError. Reason 2470
// and others where a string could not be converted come with what is known of the property.
func (c *Cursor) Next() (Property, error) {
	p, err := c.inquire(c.done > 0)
	for c.grown(err, p.length) {
		p, err = c.again()
	}
	if err == nil {
		c.done++
	}
	return p.Property, err
}

// grown reports whether err is a buffer that was too small, and makes it larger.
func (c *Cursor) grown(err error, length int) bool {
	var r *ReasonError
	switch {
	case !errors.As(err, &r):
		return false
	case r.Reason == C.MQRC_PROPERTY_NAME_TOO_BIG && c.name.size < maxName:
		c.name.grow(4 * c.name.size)
	case r.Reason == C.MQRC_PROPERTY_VALUE_TOO_BIG && c.value.size < maxValue:
		c.value.grow(min(max(length, 2*c.value.size), maxValue))
	default:
		return false
	}
	return true
}

// again reads up to the property that did not fit, from the first one: where the cursor of the library stands after a
// failure is not said anywhere.
func (c *Cursor) again() (inquired, error) {
	for i := range c.done {
		if p, err := c.inquire(i > 0); err != nil {
			return p, err
		}
	}
	return c.inquire(c.done > 0)
}

type inquired struct {
	Property
	length int // of the value, also where it did not fit
}

func (c *Cursor) inquire(next bool) (inquired, error) {
	var typ, length, cc, rc C.MQLONG
	var pd C.MQPD
	name := C.MQCHARV{VSPtr: C.MQPTR(c.name.p), VSBufSize: C.MQLONG(c.name.size), VSCCSID: 1208}
	flag := C.MQLONG(0)
	if next {
		flag = 1
	}
	C.first_or_next(c.conn, c.msg, flag, &name, &pd, &typ, c.value.p, C.MQLONG(c.value.size), &length, &cc, &rc)
	p := inquired{length: int(length)}
	if rc == C.MQRC_PROPERTY_NOT_AVAILABLE {
		return p, io.EOF
	}
	if cc == C.MQCC_FAILED {
		return p, &ReasonError{"MQINQMP", int32(cc), int32(rc)}
	}
	p.Name = C.GoStringN((*C.char)(name.VSPtr), C.int(name.VSLength))
	p.Support, p.Context, p.CopyOptions = int32(pd.Support), int32(pd.Context), int32(pd.CopyOptions)
	p.Value = c.read(typ, int(length))
	return p, nil
}

// read makes a Go value of the one in the buffer: nil for a null, and for a type that is not known.
func (c *Cursor) read(typ C.MQLONG, length int) any {
	switch typ {
	case C.MQTYPE_BOOLEAN:
		return *(*int32)(c.value.p) != 0
	case C.MQTYPE_BYTE_STRING:
		return C.GoBytes(c.value.p, C.int(length))
	case C.MQTYPE_INT8:
		return *(*int8)(c.value.p)
	case C.MQTYPE_INT16:
		return *(*int16)(c.value.p)
	case C.MQTYPE_INT32:
		return *(*int32)(c.value.p)
	case C.MQTYPE_INT64:
		return *(*int64)(c.value.p)
	case C.MQTYPE_FLOAT32:
		return *(*float32)(c.value.p)
	case C.MQTYPE_FLOAT64:
		return *(*float64)(c.value.p)
	case C.MQTYPE_STRING:
		return C.GoStringN((*C.char)(c.value.p), C.int(length))
	}
	return nil
}
