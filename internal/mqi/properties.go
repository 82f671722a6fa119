package mqi

import "fmt"

// A Property is one property of a message.
type Property struct {
	Name string
	// Value is bool, []byte, int8 to int64, float32, float64 or string, or nil for a null.
	Value any
	// Support, Context and CopyOptions are those of the property's descriptor (MQPD), as numbers of the MQI.
	Support, Context, CopyOptions int32
}

// A ReasonError is a call that failed.
type ReasonError struct {
	Call   string // "MQINQMP"
	Code   int32  // MQCC: 1 is a warning, 2 a failure
	Reason int32  // MQRC
}

func (e *ReasonError) Error() string { return fmt.Sprintf("%s: reason %d", e.Call, e.Reason) }
