package routes

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// scalar checks a single value and returns it typed, or nil after a finding.
func (w *walker) scalar(n *yamltree.Node, f *Field, path string) any {
	if n.Kind != yamltree.Scalar {
		return w.notAScalar(n, f, path)
	}
	if n.Form == yamltree.Null || n.Text == "" && f.Type != Text && f.Type != Path {
		return w.empty(n, f, path)
	}
	switch f.Type {
	case Predicate, Expression:
		return n.Text
	case Word, WordOrObject:
		return w.word(n, f, path)
	case Flag:
		return w.flag(n, f, path)
	case Count, Ratio:
		return w.number(n, f, path)
	case Duration, WordOrDuration:
		if slices.Contains(f.Words, n.Text) {
			return n.Text
		}
		return w.duration(n, f, path)
	case Size:
		return w.size(n, f, path)
	case Name:
		if !goodName(n.Text) {
			w.badName(n, path)
			return nil
		}
	case RouteName:
		if !goodRouteName(n.Text) {
			w.badName(n, path)
			return nil
		}
	}
	return w.text(n, f, path)
}

func (w *walker) notAScalar(n *yamltree.Node, f *Field, path string) any {
	out := Finding{Code: "K003", Message: fmt.Sprintf("%s must be %s", f.Name, wanted(f)), Label: describe(n), Help: "write one value"}
	if f.Type == Predicate || f.Type == Expression {
		out.Help = "quote the whole expression, or put it under a | block"
	}
	w.at(n, path, out)
	return nil
}

// wanted says what a key's value must be.
func wanted(f *Field) string {
	switch f.Type {
	case Flag:
		return "true or false"
	case Count:
		return "a whole number"
	case Ratio:
		return "a number"
	case Duration:
		return "a duration such as 500ms, 30s or 7d"
	case WordOrDuration:
		return list(f.Words) + ", or a duration such as 10ms"
	case Size:
		return "a size such as 64KiB, 1MiB or 2GB"
	case Predicate, Expression:
		return "an expression"
	case Word:
		return list(f.Words)
	case TextOrObject:
		return "text, or " + f.Example
	case WordOrObject:
		return list(f.Words) + ", or " + f.Example
	case SecretValue:
		return "{ file: PATH } or { env: NAME }"
	case Expressions:
		return "a map from names of headers to expressions"
	case TextList, URLList:
		return "a list of texts"
	}
	return "text"
}

func (w *walker) empty(n *yamltree.Node, f *Field, path string) any {
	out := Finding{Code: "K003", Message: f.Name + " has no value", Label: "nothing here",
		Help: fmt.Sprintf("write %s, or remove the key", wanted(f))}
	if f.Type == Predicate || f.Type == Expression {
		out.Code, out.Message = "F001", f.Name+": the expression is empty"
		out.Help = "leave the key out to take every message"
		if f.Type == Expression {
			out.Help = "leave the key out, or write an expression such as msg.header.account"
		}
	}
	w.at(n, path, out)
	return nil
}

// text refuses what YAML does not read as text.
func (w *walker) text(n *yamltree.Node, f *Field, path string) any {
	if n.Form != yamltree.Text {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be text", f.Name), Label: describe(n),
			Help: fmt.Sprintf("quote it: %q", clip(n.Text))})
		return nil
	}
	if n.Text == "" {
		return w.empty(n, f, path)
	}
	if strings.ContainsFunc(n.Text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s holds a line break or another control character", f.Name),
			Label: "in here", Help: "write it on one line"})
		return nil
	}
	return n.Text
}

func (w *walker) word(n *yamltree.Node, f *Field, path string) any {
	words := f.Words
	if f.Name == "type" && len(w.kinds) > 0 {
		words = w.kinds
	}
	if slices.Contains(words, n.Text) {
		return n.Text
	}
	out := Finding{Code: "K005", Message: fmt.Sprintf("%s cannot be %q", f.Name, clip(n.Text)), Label: "not a word for " + f.Name,
		Suggestion: didYouMean(n.Text, words), Help: "write " + list(words)}
	if f.Type == WordOrObject {
		out.Help = "write " + wanted(f)
	}
	if say, ok := f.Refused[n.Text]; ok {
		out.Suggestion, out.Help = "", say
	}
	w.at(n, path, out)
	return nil
}

func (w *walker) flag(n *yamltree.Node, f *Field, path string) any {
	plain := n.Style == yamltree.Plain
	if plain && (n.Text == "true" || n.Text == "false") {
		return n.Text == "true"
	}
	if !plain {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be true or false", f.Name), Label: "this is text", Help: "write true or false, without quotes"})
		return nil
	}
	old := map[string]bool{"yes": true, "y": true, "on": true, "true": true, "no": false, "n": false, "off": false, "false": false}
	if b, ok := old[strings.ToLower(n.Text)]; ok {
		w.at(n, path, Finding{Code: "Y006", Message: fmt.Sprintf("%q is a boolean for some YAML readers and text for others", n.Text),
			Label: "not true or false", Help: fmt.Sprintf("write %s: %t", f.Name, b)})
		return nil
	}
	w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be true or false", f.Name), Label: describe(n), Help: "write true or false"})
	return nil
}

// number reads a Count or a Ratio.
func (w *walker) number(n *yamltree.Node, f *Field, path string) any {
	i, err := strconv.ParseInt(n.Text, 10, 64)
	canonical := err == nil && strconv.FormatInt(i, 10) == n.Text && n.Style == yamltree.Plain
	if f.Name == "version" && path == "version" && !(canonical && i == 1) && w.oldNumber(n) == "" {
		w.at(n, path, Finding{Code: "K007", Message: fmt.Sprintf("file version %q is not known", clip(n.Text)), Label: "not a known version",
			Help: "write version: 1"})
		return nil
	}
	switch {
	case canonical && f.Type == Count:
		return w.inRange(n, f, path, float64(i), i)
	case canonical:
		return w.inRange(n, f, path, float64(i), float64(i))
	case w.oldNumber(n) != "":
		w.at(n, path, Finding{Code: "Y006", Message: fmt.Sprintf("YAML reads %s as %s", n.Text, w.oldNumber(n)), Label: "an old form of number",
			Help: "write " + w.oldNumber(n)})
		return nil
	}
	if x, err := strconv.ParseFloat(n.Text, 64); f.Type == Ratio && err == nil && n.Style == yamltree.Plain && !math.IsNaN(x) && !math.IsInf(x, 0) {
		return w.inRange(n, f, path, x, x)
	}
	w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be %s", f.Name, wanted(f)), Label: describe(n),
		Help: "write it in digits, without quotes and unit"})
	return nil
}

// oldNumber returns in decimal what YAML makes of an octal, hexadecimal, binary or grouped number, "" for other text.
func (w *walker) oldNumber(n *yamltree.Node) string {
	if n.Style != yamltree.Plain || n.Text == "0" || !strings.HasPrefix(strings.TrimLeft(n.Text, "+-"), "0") && !strings.ContainsAny(n.Text, "_+") {
		return ""
	}
	i, err := strconv.ParseInt(n.Text, 0, 64)
	if err != nil {
		i, err = strconv.ParseInt(strings.ReplaceAll(n.Text, "_", ""), 10, 64)
	}
	if err != nil {
		return ""
	}
	return strconv.FormatInt(i, 10)
}

// inRange returns v when x is between the bounds of the key.
func (w *walker) inRange(n *yamltree.Node, f *Field, path string, x float64, v any) any {
	if x >= f.Min && (f.Max == 0 || x <= f.Max) {
		return v
	}
	bounds := "at least " + bound(f, f.Min)
	if f.Max != 0 {
		bounds = bound(f, f.Min) + " to " + bound(f, f.Max)
	}
	side := "too small"
	if x > f.Min {
		side = "too large"
	}
	w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s is out of range", f.Name), Label: side, Help: "write " + bounds})
	return nil
}

// bound writes a bound of a key in the key's own form.
func bound(f *Field, x float64) string {
	switch f.Type {
	case Duration, WordOrDuration:
		return formatDuration(time.Duration(x * float64(time.Second)))
	case Size:
		return formatSize(int64(x))
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

func (w *walker) duration(n *yamltree.Node, f *Field, path string) any {
	d, ok := parseDuration(n.Text)
	if ok {
		return w.inRange(n, f, path, d.Seconds(), d)
	}
	w.unit(n, f, path, "duration", []string{"s", "m", "ms"})
	return nil
}

func (w *walker) size(n *yamltree.Node, f *Field, path string) any {
	b, ok := parseSize(n.Text)
	if ok {
		return w.inRange(n, f, path, float64(b), b)
	}
	w.unit(n, f, path, "size", []string{"GiB", "GB", "MiB"})
	return nil
}

// unit reports a quantity that cannot be read.
func (w *walker) unit(n *yamltree.Node, f *Field, path, what string, units []string) {
	if rest, minus := strings.CutPrefix(n.Text, "-"); minus && quantity(rest, what) {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s is negative", f.Name), Label: "below zero", Help: "write " + wanted(f)})
		return
	}
	digits := strings.TrimRight(n.Text, " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if x, err := strconv.ParseFloat(digits, 64); err != nil || x < 0 || math.IsInf(x, 0) || digits == "" {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be %s", f.Name, wanted(f)), Label: describe(n), Help: "write " + wanted(f)})
		return
	}
	out := Finding{Code: "K004", Message: what + " without a unit", Label: "which unit?",
		Help: fmt.Sprintf("write for example %s%s, %s%s or %s%s", digits, units[0], digits, units[1], digits, units[2])}
	if len(digits) > 4 && what == "size" {
		out.Help = fmt.Sprintf("write for example 64MiB, or %sB", digits)
	}
	if u := strings.TrimSpace(n.Text[len(digits):]); u != "" {
		out.Message, out.Label = fmt.Sprintf("%s with an unknown unit %q", what, u), "not a unit"
	}
	w.at(n, path, out)
}

// quantity reports whether s can be read as what, a duration or a size.
func quantity(s, what string) bool {
	_, ok := parseDuration(s)
	if what == "size" {
		_, ok = parseSize(s)
	}
	return ok
}

// texts reads a list of texts; a single text is refused, so that a list stays a list when a second is added.
func (w *walker) texts(n *yamltree.Node, f *Field, path string) any {
	if n.Kind != yamltree.List || len(n.Items) == 0 {
		out := Finding{Code: "K003", Message: f.Name + " must be a list", Label: describe(n), Help: "write it in brackets"}
		if n.Kind == yamltree.List {
			out.Message, out.Label, out.Help = f.Name+" is empty", "nothing in it", "write at least one"
		}
		if n.Kind == yamltree.Scalar && n.Text != "" && f.Type != URLList {
			out.Help = fmt.Sprintf("write [%q]", clip(n.Text))
		}
		w.at(n, path, out)
		return nil
	}
	var all []string
	for i, it := range n.Items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if it.Tag != "" {
			w.tag(it, f, at)
			continue
		}
		s, ok := w.scalar(it, &Field{Name: f.Name, Type: Text}, at).(string)
		if !ok || f.Type == URLList && !w.address(it, s, at) {
			continue
		}
		all = append(all, s)
	}
	return all
}

// parseDuration reads 500ms, 30s, 1h30m, 7d.
func parseDuration(s string) (time.Duration, bool) {
	total, rest := 0.0, s
	if rest == "0" || rest == "" {
		return 0, false
	}
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		unit := len(rest) - digits - len(strings.TrimLeft(rest[digits:], "mshd"))
		x, err := strconv.ParseFloat(rest[:digits], 64)
		scale := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[rest[digits:digits+unit]]
		if err != nil || scale == 0 {
			return 0, false
		}
		total += x * float64(scale)
		rest = rest[digits+unit:]
	}
	if total > math.MaxInt64/2 {
		return math.MaxInt64 / 2, true
	}
	return time.Duration(math.Round(total)), true
}

// formatDuration writes d as parseDuration reads it, with the largest unit that leaves a whole number.
func formatDuration(d time.Duration) string {
	for _, u := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d >= u.d && d%u.d == 0 {
			return fmt.Sprint(int64(d/u.d)) + u.name
		}
	}
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64) + "ms"
}

// parseSize reads 512B, 64KiB, 1.5GiB, 2GB.
func parseSize(s string) (int64, bool) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789."))
	x, err := strconv.ParseFloat(s[:digits], 64)
	units := map[string]float64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
	scale := units[s[digits:]]
	if err != nil || scale == 0 {
		return 0, false
	}
	return int64(min(x*scale, 1<<62)), true
}

// formatSize writes n as parseSize reads it.
func formatSize(n int64) string {
	for _, u := range []struct {
		name  string
		shift int
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n >= 1<<u.shift && n%(1<<u.shift) == 0 {
			return fmt.Sprint(n>>u.shift) + u.name
		}
	}
	return fmt.Sprint(n) + "B"
}
