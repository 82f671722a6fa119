package amqp

import (
	"fmt"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// largeBody is from where on a body is not copied behind its head, in bytes.
const largeBody = 256 << 10

// standsAlone reports whether the body of m is one large data section and the end of the message: the library can write that
// section itself.
func standsAlone(m *adapters.Message, p *profile) bool {
	return m.Body.Form == adapters.BodyBytes && len(m.Body.Data) >= largeBody && len(m.Body.Cuts) < 2 &&
		(len(m.Annot.Footer) == 0 || !p.annotations)
}

// load makes t.msg of m: one data section that holds the whole message, which the wire unwraps, and where the body is large,
// another one, which is the body as it stands.
func (t *target) load(m *adapters.Message) (err error) {
	var body []byte
	if standsAlone(m, t.p) {
		body = m.Body.Data
		t.buf, err = encodeHead(t.buf[:0], m, t.p)
	} else {
		t.buf, err = encode(t.buf[:0], m, t.p)
	}
	if err != nil {
		return err
	}
	size := int64(len(t.buf))
	t.msg = amqp.Message{Data: [][]byte{t.buf}}
	if body != nil {
		const section = 8 // descriptor, vbin32 and its size
		size += section + int64(len(body))
		t.msg.Data = append(t.msg.Data, body)
	}
	if size > t.most {
		return fmt.Errorf("%w: it has %d bytes, %s takes %d", adapters.ErrTooLarge, size, t.taker(), t.most)
	}
	return nil
}
