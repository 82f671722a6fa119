package bridge

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// The prefixes of the text form of ids: the convention of JMS clients over AMQP 1.0 (OASIS AMQP-JMS mapping, working
// draft 10, section 3.2.1.1).
const (
	idMark     = "ID:"
	idUUID     = "ID:AMQP_UUID:"
	idULong    = "ID:AMQP_ULONG:"
	idBinary   = "ID:AMQP_BINARY:"
	idString   = "ID:AMQP_STRING:"
	idNoPrefix = "ID:AMQP_NO_PREFIX:"
)

// FormatID is the text form of a message or group id: exact, and reversed by ParseID. The zero ID gives "".
func FormatID(id adapters.ID) string {
	if id.Form == adapters.IDString && !strings.HasPrefix(id.S, idMark) {
		return idNoPrefix + id.S
	}
	return FormatCorrID(id)
}

// FormatCorrID is the text form of a correlation id, which need not begin with "ID:". It is exact, and reversed by
// ParseID.
func FormatCorrID(id adapters.ID) string {
	switch id.Form {
	case adapters.IDString:
		if typed(id.S) {
			return idString + id.S
		}
		return id.S
	case adapters.IDBytes:
		return idBinary + strings.ToUpper(hex.EncodeToString(id.B))
	case adapters.IDUUID:
		return idUUID + uuidText(id.B)
	case adapters.IDULong:
		return idULong + strconv.FormatUint(id.U, 10)
	}
	return ""
}

// typed reports whether s would be taken for the text form of something else.
func typed(s string) bool {
	for _, p := range [...]string{idBinary, idUUID, idULong, idString, idNoPrefix} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// textForm reports whether a string id at h stands for another form.
func textForm(s string, h *adapters.Headers) bool {
	return typed(s) || h.URNs && strings.HasPrefix(s, urnUUID)
}

// ParseID reverses FormatID and FormatCorrID. A text in an impossible form ("ID:AMQP_ULONG:abc") yields a string id with
// that text, and false: a repeater must not refuse a message for it.
func ParseID(s string) (adapters.ID, bool) {
	plain := adapters.ID{Form: adapters.IDString, S: s}
	if !typed(s) {
		return plain, true
	}
	cut := strings.IndexByte(s[len(idMark):], ':') + len(idMark) + 1
	id, v := plain, s[cut:]
	switch s[:cut] {
	case idString, idNoPrefix:
		return adapters.ID{Form: adapters.IDString, S: v}, true
	case idUUID:
		b, ok := parseUUID(v)
		if !ok {
			return plain, false
		}
		id = adapters.ID{Form: adapters.IDUUID, B: b[:]}
	case idULong:
		u, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return plain, false
		}
		id = adapters.ID{Form: adapters.IDULong, U: u}
	case idBinary:
		b, err := hex.DecodeString(v)
		if err != nil {
			return plain, false
		}
		id = adapters.ID{Form: adapters.IDBytes, B: b}
	}
	if FormatCorrID(id) != s { // another spelling of the same value: only the string is exact
		return plain, false
	}
	return id, true
}

// uuidText is the form 8-4-4-4-12 in lower case; bytes that are no uuid give plain hex.
func uuidText(b []byte) string {
	if len(b) != 16 {
		return hex.EncodeToString(b)
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// parseUUID reads the form 8-4-4-4-12.
func parseUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	_, err := hex.Decode(u[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]))
	return u, err == nil
}

// FixedID brings id into a field of n bytes, as IBM MQ has them. Short values are padded with zeros at the right, long
// ones are the front of their SHA-256; "ID:" and 2n hex digits are the n bytes, and the ids of a bridge's request are packed. The
// zero ID gives n zeros.
func FixedID(id adapters.ID, n int) []byte {
	b := make([]byte, n)
	v := id.B
	switch id.Form {
	case adapters.IDString:
		v = []byte(id.S)
		if raw, err := hex.DecodeString(strings.TrimPrefix(id.S, idMark)); err == nil && len(raw) == n &&
			strings.HasPrefix(id.S, idMark) {
			v = raw
		} else if packed, ok := packAsked(id.S); ok && n == packedSize {
			v = packed
		}
	case adapters.IDULong:
		v = binary.BigEndian.AppendUint64(nil, id.U)
	}
	if len(v) > n {
		sum := sha256.Sum256(v)
		v = sum[:]
	}
	copy(b, v)
	return b
}

// rawID is an id as bytes without a form: MQTT correlation data, Kafka headers of Spring.
func rawID(id adapters.ID) []byte {
	switch id.Form {
	case adapters.IDString:
		return []byte(id.S)
	case adapters.IDULong:
		return strconv.AppendUint(nil, id.U, 10)
	}
	return id.B
}

// stringOnly reports whether ids arrive as strings and nothing else, so that their text is parsed on arrival.
func stringOnly(h *adapters.Headers) bool { return h.IDs == adapters.IDSet(adapters.IDString) }

// nativeID is the id that the native field of h gets for id: the nearest one, or the zero ID.
func nativeID(id adapters.ID, h *adapters.Headers) adapters.ID {
	n := id
	switch {
	case id.IsZero():
		return id
	case h.RawIDs:
		n = formless(id)
	case stringOnly(h):
		n = adapters.StringID(stringText(id, h))
	case h.FixedIDs:
		return fixedID(id, h.MaxID)
	case h.IDs.Has(id.Form):
	case h.IDs.Has(adapters.IDString):
		n = adapters.StringID(idText(id))
	case h.IDs.Has(adapters.IDBytes):
		n = adapters.ID{Form: adapters.IDBytes, B: rawID(id)}
	default:
		return adapters.ID{}
	}
	if empty := len(n.S)+len(n.B) == 0 && n.Form != adapters.IDULong; empty && !holdsEmptyIDs(h) {
		return adapters.ID{}
	}
	if h.MaxID > 0 && max(len(n.S), len(n.B)) > h.MaxID || !holdsID(n, h) {
		return adapters.ID{}
	}
	return n
}

// holdsEmptyIDs reports whether an id of no bytes differs from none: where ids have their forms on the wire.
func holdsEmptyIDs(h *adapters.Headers) bool {
	return h.IDs.Has(adapters.IDString) && h.IDs.Has(adapters.IDBytes) && !h.RawIDs
}

// nativeGroup is nativeID for the group id, which is a string wherever it is not of fixed length.
func nativeGroup(id adapters.ID, h *adapters.Headers) adapters.ID {
	if id.IsZero() {
		return id
	}
	if h.FixedIDs {
		return fixedID(id, h.MaxID)
	}
	if n := adapters.StringID(idText(id)); holdsID(n, h) {
		return n
	}
	return adapters.ID{}
}

// arrivedID is what Restore makes of a native message or correlation id without a header, and whether it could be read.
func arrivedID(n adapters.ID, h *adapters.Headers) (adapters.ID, bool) {
	if !stringOnly(h) || n.Form != adapters.IDString {
		return n, true
	}
	if u, ok := parseURN(n.S); ok && h.URNs {
		return adapters.ID{Form: adapters.IDUUID, B: u[:]}, true
	}
	return ParseID(n.S)
}

// arrivedGroup is arrivedID for the group id, which is a string in every protocol without ids of fixed length.
func arrivedGroup(n adapters.ID, h *adapters.Headers) (adapters.ID, bool) {
	if h.FixedIDs || n.Form != adapters.IDString {
		return n, true
	}
	return ParseID(n.S)
}

// formless is an id as it arrives where only its bytes travel: a string if they are readable.
func formless(id adapters.ID) adapters.ID {
	switch b := rawID(id); {
	case len(b) == 0:
		return adapters.ID{}
	case readable(string(b)):
		return adapters.ID{Form: adapters.IDString, S: string(b)}
	default:
		return adapters.ID{Form: adapters.IDBytes, B: b}
	}
}

const urnUUID = "urn:uuid:"

// stringText is an id in a field that holds strings only. URNs is how RabbitMQ converts ids between AMQP 1.0 and 0.9.1
// (rabbitmq.com, Conversions).
func stringText(id adapters.ID, h *adapters.Headers) string {
	switch {
	case h.URNs && id.Form == adapters.IDUUID && len(id.B) == 16:
		return urnUUID + uuidText(id.B)
	case h.URNs && id.Form == adapters.IDULong:
		return strconv.FormatUint(id.U, 10)
	}
	return idText(id)
}

// parseURN reads urn:uuid: in lower case, the one spelling that stringText writes.
func parseURN(s string) (u [16]byte, ok bool) {
	text, ok := strings.CutPrefix(s, urnUUID)
	if !ok {
		return u, false
	}
	u, ok = parseUUID(text)
	return u, ok && uuidText(u[:]) == text
}

func fixedID(id adapters.ID, n int) adapters.ID {
	b := FixedID(id, n)
	if !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) { // reads as "none"
		return adapters.ID{}
	}
	return adapters.ID{Form: adapters.IDBytes, B: b}
}

// idText is an id in a field that holds strings only: bytes that are readable text go in as they are.
func idText(id adapters.ID) string {
	if id.Form == adapters.IDBytes && len(id.B) > 0 && readable(string(id.B)) {
		return string(id.B)
	}
	return FormatCorrID(id)
}

func holdsID(id adapters.ID, h *adapters.Headers) bool {
	return id.Form != adapters.IDString || holdsText(id.S, h) && strings.IndexByte(id.S, 0) < 0
}

// holdsText reports whether a native string field of h takes s as it is.
func holdsText(s string, h *adapters.Headers) bool {
	if h.TextOnly {
		return printable(s)
	}
	return utf8.ValidString(s)
}

// readable reports whether s is UTF-8 without control characters.
func readable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return utf8.ValidString(s)
}
