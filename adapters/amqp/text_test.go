package amqp

import (
	"fmt"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
)

// idText is the text form of headers.md, section 3.1, written here a second time, from the document.
func idText(id any, prefix string) string {
	switch v := id.(type) {
	case nil:
		return ""
	case uint64:
		return fmt.Sprintf("ID:AMQP_ULONG:%d", v)
	case amqp.UUID:
		return "ID:AMQP_UUID:" + v.String()
	case []byte:
		return fmt.Sprintf("ID:AMQP_BINARY:%X", v)
	case string:
		for _, p := range []string{"BINARY:", "UUID:", "ULONG:", "STRING:", "NO_PREFIX:"} {
			if strings.HasPrefix(v, "ID:AMQP_"+p) {
				return "ID:AMQP_STRING:" + v
			}
		}
		if !strings.HasPrefix(v, "ID:") {
			return prefix + v
		}
		return v
	}
	return fmt.Sprint(id)
}

func anyText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	return fmt.Sprint(v)
}
