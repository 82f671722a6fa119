package routes

import (
	"strings"
	"testing"
)

// TestCompareRouting: a reload sees every change of who takes a message and of what its headers become, and none that
// means the same.
func TestCompareRouting(t *testing.T) {
	const base = `, set: { dc: '"paris"', n: msg.priority }, unset: [old], filter: msg.expired, unrouted: skip`
	old := sharing(t, base)
	for keys, want := range map[string]string{
		base: "",
		`, unset: [old], set: { dc: "\"paris\"", n: msg.priority }, filter: msg.expired, unrouted: skip`:                      "",
		`, set: { dc: '"lyon"', n: msg.priority }, unset: [old], filter: msg.expired, unrouted: skip`:                         "set",
		`, set: { dc: '"paris"', m: msg.priority }, unset: [old], filter: msg.expired, unrouted: skip`:                        "set",
		`, set: { dc: '"paris"', n: msg.priority }, unset: [new], filter: msg.expired, unrouted: skip`:                        "set",
		`, set: { dc: '"paris"', n: msg.priority }, filter: msg.expired, unrouted: skip`:                                      "set",
		`, filter: msg.expired, unrouted: skip`:                                                                               "set",
		`, set: { dc: '"paris"', n: msg.priority }, unset: [old], filter: msg.expired, unrouted: leave`:                       "unrouted",
		`, set: { dc: '"paris"', n: msg.priority }, unset: [old], filter: msg.expired, unrouted: skip, match: first`:          "match",
		`, set: { dc: '"paris"', n: msg.priority }, unset: [old], filter: msg.expired, unrouted: skip, on_filter_error: stop`: "on_filter_error",
	} {
		d := sharing(t, keys).Compare(old)
		var got []string
		for _, c := range d.Changed {
			got = append(got, c.Keys...)
		}
		if s := strings.Join(got, " "); s != want || (len(d.Restarted) == 1) != (want != "") {
			t.Errorf("%s: changed %q, restarted %v; want %q", keys, s, d.Restarted, want)
		}
	}
}
