//go:build cgo && ibmmq

package ibmmq

import (
	"errors"
	"io"

	"github.com/ibm-messaging/mq-golang/v5/ibmmq"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/mqi"
)

// messageProperties are those of one message, in a message handle. Every handle is deleted, or it leaks.
type messageProperties struct {
	h      *handle
	handle ibmmq.MQMessageHandle
}

func (h *handle) properties() (*messageProperties, error) {
	m, err := h.manager.CrtMH(ibmmq.NewMQCMHO())
	if err := returned("MQCRTMH", err); err != nil {
		return nil, err
	}
	return &messageProperties{h, m}, nil
}

// delete fails only where the connection is gone, and the handle with it.
func (p *messageProperties) delete() { _ = p.handle.DltMH(ibmmq.NewMQDMHO()) }

// set writes ps. The binding writes an int8 for an uint8, so there are none.
func (p *messageProperties) set(ps []adapters.Prop) error {
	pd := ibmmq.NewMQPD()
	pd.Context = ibmmq.MQPD_USER_CONTEXT
	for _, prop := range ps {
		if err := returned("MQSETMP", p.handle.SetMP(ibmmq.NewMQSMPO(), prop.Name, pd, nativeValue(prop.V))); err != nil {
			return err
		}
	}
	return nil
}

// nativeValue is v in the Go type of its MQTYPE; types that MQ does not have were made text before (Headers.Types).
func nativeValue(v adapters.Value) any {
	switch v.Type() {
	case adapters.TNull:
		return nil
	case adapters.TBool:
		return v.Bool()
	case adapters.TI8:
		return int8(v.Int())
	case adapters.TI16:
		return int16(v.Int())
	case adapters.TI32:
		return int32(v.Int())
	case adapters.TI64:
		return v.Int()
	case adapters.TF32:
		return float32(v.Float())
	case adapters.TF64:
		return v.Float()
	case adapters.TBytes:
		return []byte(v.Str())
	}
	return v.Text()
}

// read returns all properties in their order. A text that the client could not convert comes as it is.
func (p *messageProperties) read() ([]adapters.Prop, error) {
	c := mqi.NewCursor(p.h.manager.GetValue(), p.handle.GetValue())
	defer func() { _ = c.Close() }() // frees memory, and cannot fail
	var out []adapters.Prop
	for {
		q, err := c.Next()
		var r *mqi.ReasonError
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case errors.As(err, &r) && r.Code != mqccWarning:
			return nil, &mqError{verb: r.Call, cc: r.Code, rc: r.Reason}
		case err != nil && r == nil:
			return nil, err
		}
		out = append(out, adapters.Prop{Name: q.Name, V: canonicalValue(q.Value)})
	}
}

func canonicalValue(v any) adapters.Value {
	switch v := v.(type) {
	case bool:
		return adapters.Bool(v)
	case int8:
		return adapters.Int(adapters.TI8, int64(v))
	case int16:
		return adapters.Int(adapters.TI16, int64(v))
	case int32:
		return adapters.Int(adapters.TI32, int64(v))
	case int64:
		return adapters.Int(adapters.TI64, v)
	case float32:
		return adapters.Float32(v)
	case float64:
		return adapters.Float64(v)
	case []byte:
		return adapters.Bytes(v)
	case string:
		return adapters.String(v)
	}
	return adapters.Null()
}
