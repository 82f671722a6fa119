package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// around are the files that a fragment in a document is part of; @@ stands for it. A block says which with a comment above
// it, <!-- fragment of NAME -->.
var around = map[string]string{
	// three sites of three kinds
	"sites": sites + `spool: { dir: /var/lib/posthouse/spool }
@@
routes:
  - { name: orders, from: { broker: paris, queue: orders }, to: { broker: berlin, topic: orders } }
  - { name: fills, from: { broker: berlin, topic: fills }, to: { broker: madrid, subject: fills } }
`,
	// routes of those sites
	"routes": sites + "spool: { dir: /var/lib/posthouse/spool }\nroutes:\n@@\n",
	// their topology
	"topology": sites + "spool: { dir: /var/lib/posthouse/spool }\n@@\n",
	// keys of a route
	"route": sites + "spool: { dir: /var/lib/posthouse/spool }\nroutes:\n  - name: orders\n    from: { broker: paris, queue: orders }\n    to: { broker: berlin, topic: orders }\n@@\n",
	// the target of a route
	"target": sites + "spool: { dir: /var/lib/posthouse/spool }\nroutes:\n  - name: orders\n    from: { broker: paris, queue: orders }\n@@\n",
	// all but the version
	"brokers": "version: 1\n@@\n",
	// two brokers of queues
	"pair": `version: 1
brokers:
  paris: { type: amqp, dialect: artemis, addresses: ["amqp://paris.example.net:5672"] }
  berlin: { type: amqp, dialect: artemis, addresses: ["amqp://berlin.example.net:5672"] }
spool: { dir: /var/lib/posthouse/spool }
@@
`,
}

const sites = `version: 1
brokers:
  paris: { type: amqp, dialect: artemis, addresses: ["amqp://paris.example.net:5672"] }
  berlin: { type: kafka, addresses: ["berlin.example.net:9092"] }
  madrid: { type: nats, addresses: ["nats://madrid.example.net:4222"] }
`

// A block of YAML in a document.
type block struct {
	file string
	line int // of its first line
	text string
	of   string // the file that it is a fragment of; "" for a whole one
	code string // that check must find in it; "" where it is right
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var (
	fragmentOf = regexp.MustCompile(`<!-- fragment of (\w+)`)
	wrongWith  = regexp.MustCompile(`<!-- wrong: ([A-Z]\d+)`)
)

// blocks reads those of a document.
func blocks(t *testing.T, file string) (all []block) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b *block
	above := ""
	for n, line := range strings.Split(string(src), "\n") {
		switch {
		case b == nil && strings.HasPrefix(strings.TrimSpace(line), "```yaml"):
			b = &block{file: file, line: n + 2}
			if m := fragmentOf.FindStringSubmatch(above); m != nil {
				b.of = m[1]
			}
			if m := wrongWith.FindStringSubmatch(above); m != nil {
				b.code = m[1]
			}
		case b != nil && strings.HasPrefix(strings.TrimSpace(line), "```"):
			all = append(all, *b)
			b = nil
		case b != nil:
			b.text += line + "\n"
		}
		above = line
	}
	return all
}

// whole is the file that b is, or is part of.
func (b block) whole(t *testing.T) string {
	t.Helper()
	if b.of == "" {
		return b.text
	}
	file, ok := around[b.of]
	if !ok {
		t.Fatalf("%v: there is no file %q that it could be a fragment of", b, b.of)
	}
	return strings.Replace(file, "@@\n", b.text, 1)
}

// documents are README and what is in docs, but for the generated reference, which has no examples.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	return append(docs, filepath.Join("..", "..", "README.md"), filepath.Join("..", "..", "CONTRIBUTING.md"))
}

// TestYAMLInDocuments: check takes every block, and finds in the wrong ones what the document says.
func TestYAMLInDocuments(t *testing.T) {
	n := 0
	for _, doc := range documents(t) {
		for _, b := range blocks(t, doc) {
			n++
			r := posthouse(t, "check", write(t, "topology.yaml", b.whole(t)))
			switch {
			case b.code == "" && strings.Contains(r.out+r.errs, "[E104]") && strings.Contains(r.out+r.errs, ": 1 error\n"): // ibmmq, in a build without it
			case b.code == "" && r.code != 0:
				t.Errorf("%v: exit %d\n%s%s\nof\n%s", b, r.code, r.out, r.errs, b.whole(t))
			case b.code != "" && !strings.Contains(r.out+r.errs, "["+b.code+"]"):
				t.Errorf("%v: no %s\n%s%s", b, b.code, r.out, r.errs)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d blocks were found", n)
	}
}

var (
	commandLine = regexp.MustCompile(`(?m)^ *(?:\$ |sudo |sudo -u posthouse )?posthouse ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)`)
	flagWord    = regexp.MustCompile(`^--?[a-z][a-z-]*`)
)

// TestCommandsInDocuments: the commands that documents show exist, with the flags that they show.
func TestCommandsInDocuments(t *testing.T) {
	n := 0
	for _, doc := range documents(t) {
		src, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(src), "\n") {
			line = strings.ReplaceAll(line, "./posthouse", "posthouse")
			if !strings.HasPrefix(line, "    ") || !commandLine.MatchString(line) {
				continue
			}
			n++
			words := strings.Fields(commandLine.FindStringSubmatch(line)[1])
			c, _, err := rootCommand().Find(words)
			if err != nil || c.Name() == "posthouse" {
				t.Errorf("%s:%d: %q is no command: %v", doc, i+1, line, err)
				continue
			}
			before, _, _ := strings.Cut(line, " #")
			for _, word := range strings.Fields(before) {
				if name := strings.TrimLeft(flagWord.FindString(word), "-"); name != "" &&
					c.Flags().Lookup(name) == nil && (len(name) != 1 || c.Flags().ShorthandLookup(name) == nil) && name != "help" {
					t.Errorf("%s:%d: %s has no flag %s", doc, i+1, c.CommandPath(), word)
				}
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d commands were found", n)
	}
}
