package amqp

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/posthouse/posthouse/adapters"
)

// longestID is the longest id in bytes that is kept as it is: an application's may be as long as a message.
const longestID = 128

// sourceID is a message-id as the text of Delivery.SourceID, "" where there is none. The letter before it keeps the
// wire types apart (part 3, sections 3.2.11 to 14): the string "7" and the ulong 7 are two ids. A long one is its hash.
func sourceID(id adapters.ID) string {
	switch id.Form {
	case adapters.IDString:
		return shortened("s:", id.S)
	case adapters.IDBytes:
		return shortened("b:", hex.EncodeToString(id.B))
	case adapters.IDUUID:
		return "u:" + hex.EncodeToString(id.B)
	case adapters.IDULong:
		return "n:" + strconv.FormatUint(id.U, 10)
	}
	return ""
}

func shortened(form, text string) string {
	if len(text) <= longestID {
		return form + text
	}
	sum := sha256.Sum256([]byte(text))
	return form[:1] + "h:" + hex.EncodeToString(sum[:])
}
