package routes

import (
	"fmt"
	"strings"
)

// Reference returns the reference page of the file, in Markdown, made of the tables of keys, fields and codes.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Reference: the topology file\n\n" +
		"This page is made from the table of keys in the program (`go test ./routes -update`); do not edit it.\n\n" +
		"Durations are written `500ms`, `30s`, `7d`; sizes `64KiB`, `1GiB`, `1GB`: no bare number hides a unit. Names are lower-case letters, digits and\n" +
		"dashes, at most 63. Relative paths are relative to the file. Secrets are `{ file: PATH }` or `{ env: NAME }`, never values.\n" +
		"Reload says what a changed key does to what runs: live, nothing is restarted; route, that route is; broker, all routes on that broker are;\n" +
		"process, the reload is refused (C001), for only a restart of the daemon can take it.\n")
	for _, s := range topologyShape().shapes() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| Key | Value | Default | For | Reload | |\n|---|---|---|---|---|---|\n", s.Name, s.Doc)
		for _, f := range s.Fields {
			f.row(&b)
		}
	}
	b.WriteString("\n## Expressions\n\n`filter` and `to.key` are expressions over one message.\n\n| Field | Type | |\n|---|---|---|\n")
	for _, f := range messageFields() {
		fmt.Fprintf(&b, "| `msg.%s` | %s | %s |\n", f.name, f.typ, f.doc)
	}
	b.WriteString("| `route`, `repeater` | text | Names of the route and of this daemon. |\n\n")
	fmt.Fprintf(&b, "Operators: `== != < <= > >= and or not in contains startsWith endsWith matches + - * / %% ? :`, and a range `1..9` after `in`.\n"+
		"Functions: `%s`.\n\n", strings.Join(functions(), " "))
	fmt.Fprintf(&b, "Limits: source %s, %d levels of brackets, %d terms, one loop (`any all none one count`) at a time, %d steps in all patterns of `matches`; of a message: text %s, %s for each\n"+
		"header, %d headers, JSON with %d elements in a list or map and %d levels. What is beyond is an error of the filter.\n",
		formatSize(maxSource), maxBrackets, maxNodes, maxPattern, formatSize(maxText), formatSize(maxValue), maxHeaders, maxElements, maxDepth)
	b.WriteString("\n## Codes\n\n| Code | Meaning |\n|---|---|\n")
	for _, c := range codes() {
		fmt.Fprintf(&b, "| %s | %s |\n", c.code, strings.SplitN(c.text, "\n", 2)[0])
	}
	return b.String()
}

func (f *Field) row(b *strings.Builder) {
	name := verbatim(f.Name)
	if f.Required {
		name += " *"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", name, f.form(), verbatim(f.Default), strings.Join(f.Kinds, ", "), f.Reload, strings.ReplaceAll(f.Doc, "|", "\\|"))
}

// verbatim sets a text as code in Markdown.
func verbatim(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// form says in a few words what a key's value is.
func (f *Field) form() string {
	bounds := ""
	if f.Max != 0 {
		bounds = fmt.Sprintf(", %s to %s", bound(f, f.Min), bound(f, f.Max))
	} else if f.Min != 0 {
		bounds = ", at least " + bound(f, f.Min)
	}
	switch f.Type {
	case Word:
		return "`" + strings.Join(f.Words, "` `") + "`"
	case WordOrDuration:
		return "`" + strings.Join(f.Words, "` `") + "` or duration" + bounds
	case Flag:
		return "`true` `false`"
	case Count:
		return strings.TrimSpace("number "+strings.TrimPrefix("of "+f.Unit, "of ")) + bounds
	case Ratio:
		return "number" + bounds
	case Duration:
		return "duration" + bounds
	case Size:
		return "size" + bounds
	case Name, RouteName:
		return "name"
	case Predicate, Expression:
		return "expression"
	case Expressions:
		return "map from names to expressions"
	case Path:
		return "path"
	case SecretValue:
		return "secret"
	case TextList, URLList:
		return "list of texts"
	case BrokerRef:
		return "name of a broker"
	case TextOrObject:
		return "text or [" + f.Of.Name + "](#" + anchor(f.Of.Name) + ")"
	case WordOrObject:
		return "`" + strings.Join(f.Words, "` `") + "` or [" + f.Of.Name + "](#" + anchor(f.Of.Name) + ")"
	case Object:
		return "[" + f.Of.Name + "](#" + anchor(f.Of.Name) + ")"
	case Objects:
		return "list of [" + f.Of.Name + "](#" + anchor(f.Of.Name) + ")"
	case OneOrMany:
		return "[" + f.Of.Name + "](#" + anchor(f.Of.Name) + "), or a list"
	case Named:
		return "map from names to [" + f.Of.Name + "](#" + anchor(f.Of.Name) + ")"
	}
	return "text"
}

func anchor(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ".", "")
}
