package routes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// Written returns the generated routes as one could write them under routes:, each with override. What a written route
// already overrides is left out.
func (t *Table) Written() string {
	var b strings.Builder
	b.WriteString("routes:\n")
	none := true
	for _, r := range t.Routes {
		if r.Generated() {
			none = false
			b.WriteString(r.Repeat.text)
		}
	}
	if none {
		return "routes: []\n"
	}
	return b.String()
}

// routeText writes a generated route.
func routeText(v *value) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %s\n    override: true\n", v.get("name").data)
	fmt.Fprintf(&b, "    from: %s\n    to: %s\n", endText(v.get("from")), endText(v.get("to").items[0]))
	for _, k := range v.order {
		if k != "max_hops" {
			fmt.Fprintf(&b, "    %s: %s\n", k, nodeText(v.subs[k].node))
		}
	}
	return b.String()
}

func endText(v *value) string {
	var parts []string
	for _, k := range v.order {
		sub := v.subs[k]
		text := nodeText(sub.node)
		if s, ok := sub.data.(string); ok && s != sub.node.Text {
			text = plainText(s)
		}
		parts = append(parts, k+": "+text)
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// nodeText writes a node in flow form.
func nodeText(n *yamltree.Node) string {
	var parts []string
	switch n.Kind {
	case yamltree.Map:
		for _, p := range n.Pairs {
			parts = append(parts, nodeText(p.Key)+": "+nodeText(p.Value))
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	case yamltree.List:
		for _, it := range n.Items {
			parts = append(parts, nodeText(it))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if n.Form != yamltree.Text {
		return n.Text
	}
	return plainText(n.Text)
}

// plainText writes a text bare where YAML reads nothing else in it, and else in double quotes.
func plainText(s string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	odd := []string{"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
	if s == "" || strings.Trim(s, letters+"0123456789-._/") != "" || strings.Trim(s[:1], letters) != "" || slices.Contains(odd, strings.ToLower(s)) {
		return strconv.Quote(s)
	}
	return s
}
