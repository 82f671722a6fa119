package bridge

import (
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// Names of Posthouse's own headers. The part behind the prefix is also Note.Field.
const (
	ownPrefix      = "posthouse-"
	ownPrefixIdent = "posthouse_" // where names are identifiers

	hID         = ownPrefix + "id"
	hOrigin     = ownPrefix + "origin"
	hPath       = ownPrefix + "path"
	hSeal       = ownPrefix + "seal" // proof of the three before it
	hMaybeDup   = ownPrefix + "possible-duplicate"
	hMessageID  = ownPrefix + "message-id"
	hCorrID     = ownPrefix + "correlation-id"
	hTo         = ownPrefix + "to"
	hReplyTo    = ownPrefix + "reply-to"
	hType       = ownPrefix + "type"
	hAppID      = ownPrefix + "app-id"
	hReplyGroup = ownPrefix + "reply-group"
	hContent    = ownPrefix + "content-type"
	hEncoding   = ownPrefix + "content-encoding"
	hCreated    = ownPrefix + "created"
	hExpires    = ownPrefix + "expires"
	hDeliverAt  = ownPrefix + "deliver-at"
	hPriority   = ownPrefix + "priority"
	hDurable    = ownPrefix + "durable"
	hDeliveries = ownPrefix + "deliveries"
	hGroupID    = ownPrefix + "group-id"
	hGroupSeq   = ownPrefix + "group-seq"
	hGroupLast  = ownPrefix + "group-last"
	hUserID     = ownPrefix + "user-id"
	hKey        = ownPrefix + "key"
	hMsgType    = ownPrefix + "msg-type"
	hReport     = ownPrefix + "report"
	hFeedback   = ownPrefix + "feedback"
	hBody       = ownPrefix + "body"
	hNull       = ownPrefix + "null"
	hTypes      = ownPrefix + "types"
	hProps      = ownPrefix + "props"
	hMA         = ownPrefix + "ma-"   // and the key of a message annotation
	hFT         = ownPrefix + "ft-"   // and the key of a footer entry
	hDead       = ownPrefix + "dead-" // and one of reason, text, route, lane, source, attempts, first, last
	hEvent      = ownPrefix + "event" // "made": the attributes of the CloudEvent are Posthouse's, not the producer's
	hMQFormat   = ownPrefix + "mq-format"
	hMQCCSID    = ownPrefix + "mq-ccsid"
	hMQEncoding = ownPrefix + "mq-encoding"
)

// noKey is posthouse-key of a message that has no key although its native form looks as if it had, because a group or a
// partition stands in for it. It is no base64.
const noKey = "-"

const (
	yes     = "yes"
	no      = "no"
	present = "true"
)

// isOwn reports whether a property is one of Posthouse's own headers, in either spelling.
func isOwn(name string) bool {
	return strings.HasPrefix(name, ownPrefix) || strings.HasPrefix(name, ownPrefixIdent)
}

// spell is the name of an own header where names are identifiers: hyphens are underscores, and the key of an annotation
// goes through EscName.
func spell(name string) string {
	for _, p := range [...]string{hMA, hFT} {
		if key, ok := strings.CutPrefix(name, p); ok {
			return strings.ReplaceAll(p, "-", "_") + EscName(key)
		}
	}
	return strings.ReplaceAll(name, "-", "_")
}

// unspell reverses spell; a name with hyphens stays as it is.
func unspell(name string) string {
	if !strings.HasPrefix(name, ownPrefixIdent) {
		return name
	}
	name = name[len(ownPrefixIdent):]
	for _, p := range [...]string{"ma", "ft"} {
		if key, ok := strings.CutPrefix(name, p+"_"); ok {
			return ownPrefix + p + "-" + UnescName(key)
		}
	}
	return ownPrefix + strings.ReplaceAll(name, "_", "-")
}

// field is the name of an own header as a Note says it: without the prefix, and without the key of an annotation.
func field(name string) string {
	for _, p := range [...]string{hMA, hFT} {
		if strings.HasPrefix(name, p) {
			return p[len(ownPrefix) : len(p)-1]
		}
	}
	return name[len(ownPrefix):]
}

// A header is one own header as found, its name in the spelling with hyphens.
type header struct {
	name, value string
}

// ownHeader reads a property as an own header; its value is text whatever its native type.
func ownHeader(p *adapters.Prop) header {
	return header{unspell(p.Name), p.V.Text()}
}

// reserved reports whether a property name is a command or hop metadata at h. The reply headers of Spring for Kafka look
// like it and are not: applications set them.
func reserved(name string, h *adapters.Headers) bool {
	for _, p := range h.Reserved {
		if name != "" && name[0] == p[0] && strings.HasPrefix(name, p) { // the first byte decides most of the time
			return name != "kafka_correlationId" && name != "kafka_replyTopic" && name != "kafka_replyPartition"
		}
	}
	return false
}

// duplicateID is where Artemis looks for the id by which it knows a message again.
const duplicateID = "_AMQ_DUPL_ID"

// repeatsID reports whether p is the place where the last repeater told the broker what posthouse-id says too, so that
// nothing is lost with it. An application's own duplicate id is not that.
func repeatsID(p *adapters.Prop, all []adapters.Prop) bool {
	return p.Name == duplicateID && slices.ContainsFunc(all, func(o adapters.Prop) bool {
		return isOwn(o.Name) && unspell(o.Name) == hID && o.V.Text() == p.V.Text()
	})
}

// taken reports whether a property called name would be read as something else by decode and Restore at h: a native
// field that is a header there, an annotation, or an attribute of a CloudEvent.
func taken(name string, event bool, h *adapters.Headers) bool {
	if slices.Contains(h.Taken, name) || h.Annotates != "" && strings.HasPrefix(name, h.Annotates) {
		return true
	}
	attr, ok := eventAttr(name, h.Protocol)
	return ok && (event || attr == specVersion) // without specversion nothing is taken for an event
}
