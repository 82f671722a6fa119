package bridge

import (
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// addrWord is the word for a form of address.
func addrWord(f adapters.AddrForm) string {
	words := [...]string{"addr", "queue", "topic", "temp-queue", "temp-topic"}
	return words[int(f)%len(words)]
}

// FormatAddr is the text form of an address: FORM:NAME or FORM:NAME@SCOPE, where FORM is queue, topic, temp-queue,
// temp-topic or addr, and odd characters are percent-encoded. The zero Addr gives "".
func FormatAddr(a adapters.Addr) string {
	if a == (adapters.Addr{}) {
		return ""
	}
	s := addrWord(a.Form) + ":" + escape(a.Name, "@ ")
	if a.Scope != "" {
		s += "@" + escape(a.Scope, "@ ")
	}
	return s
}

// ParseAddr reverses FormatAddr. A text that is none of these forms yields the zero Addr and false.
func ParseAddr(s string) (adapters.Addr, bool) {
	word, rest, found := strings.Cut(s, ":")
	if !found {
		return adapters.Addr{}, false
	}
	for f := adapters.AddrUnknown; f <= adapters.AddrTempTopic; f++ {
		if addrWord(f) != word {
			continue
		}
		name, scope, _ := strings.Cut(rest, "@")
		n, ok1 := unescape(name)
		sc, ok2 := unescape(scope)
		if !ok1 || !ok2 {
			break
		}
		return adapters.Addr{Name: n, Form: f, Scope: sc}, true
	}
	return adapters.Addr{}, false
}
