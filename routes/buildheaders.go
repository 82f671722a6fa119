package routes

import "github.com/posthouse/posthouse/bridge"

// fitting is what the file says of the conversion of messages for a broker.
func (c chain) fitting(kind string) bridge.Options {
	o := bridge.Options{KeepTo: c.flag("keep_to"), NoShed: !c.flag("shed")}
	if c.shape.field("user_id", kind) != nil {
		o.PassUserID = c.text("user_id") == userIDPass
		o.ConvertBody = c.text("body") == bodyConvert
	}
	return o
}
