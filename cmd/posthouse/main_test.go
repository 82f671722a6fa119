package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"
	"gopkg.in/yaml.v3"
)

func TestMain(m *testing.M) {
	if code, is := asPosthouse(); is {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds what should have ended at once.
const patience = 2 * time.Minute

// A result is what one command line left.
type result struct {
	code      int
	out, errs string
}

// posthouse runs one command line in this process. One that does not end by itself fails the test.
func posthouse(t *testing.T, args ...string) result {
	t.Helper()
	return posthouseIn(t, "", args...)
}

func posthouseIn(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- execute(args, strings.NewReader(stdin), &out, &errs) }()
	select {
	case code := <-done:
		return result{code, out.String(), errs.String()}
	case <-time.After(patience):
		t.Fatalf("posthouse %s is still running", strings.Join(args, " "))
		return result{}
	}
}

// want checks the exit code and that each of texts was printed.
func (r result) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.errs)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.errs, text) {
			t.Errorf("no %q in\nstdout: %s\nstderr: %s", text, r.out, r.errs)
		}
	}
}

// write makes a file of the test's own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEveryCommandExplainsItself(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s: no example, or no short description", c.CommandPath())
		}
		for line := range strings.SplitSeq(c.Example, "\n") {
			if !strings.Contains(line, "posthouse ") && !strings.Contains(line, "curl ") {
				t.Errorf("%s: example %q calls nothing", c.CommandPath(), line)
			}
		}
		r := posthouse(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		r.want(t, 0, "Examples:", "Usage:")
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(rootCommand())
}

func TestUsage(t *testing.T) {
	good := filepath.Join("..", "..", "examples", "quickstart.yaml")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":        {nil, 0, "Examples:"},
		"unknown command":   {[]string{"rnu"}, 2, "Did you mean this?\n\trun"},
		"unknown flag":      {[]string{"run", "--gracee", "1s"}, 2, "unknown flag: --gracee"},
		"not a duration":    {[]string{"run", "--grace", "fast"}, 2, `invalid argument "fast" for "--grace"`},
		"negative grace":    {[]string{"run", "-c", good, "--grace", "-1s"}, 2, "--grace -1s"},
		"repeater's name":   {[]string{"run", "-c", good, "--repeater", "a/b"}, 2, `--repeater "a/b"`},
		"run without file":  {[]string{"run"}, 2, "use -c FILE or set POSTHOUSE_CONFIG"},
		"run, no such file": {[]string{"run", "-c", "absent.yaml"}, 3, "absent.yaml"},
		"check nothing":     {[]string{"check"}, 2, "requires at least 1 arg"},
		"check, no file":    {[]string{"check", "absent.yaml", good}, 3, good},
		"check a folder":    {[]string{"check", "."}, 3, "is a directory"},
		"check's format":    {[]string{"check", "--format", "xml", good}, 2, "write one of text, json, github"},
		"schema's output":   {[]string{"schema", "-o", "text"}, 2, "write one of json-schema, markdown"},
		"explain nothing":   {[]string{"explain"}, 2, "accepts 1 arg"},
		"explain unknown":   {[]string{"explain", "F999"}, 2, `no code "F999"`},
		"completion":        {[]string{"completion", "tcsh"}, 2, "bash, zsh, fish, powershell"},
		"demo's size":       {[]string{"demo", "--size", "3"}, 2, "--size 3: write 64 to"},
		"demo's rate":       {[]string{"demo", "--rate", "0"}, 2, "--rate 0: write 1 to"},
		"demo's duration":   {[]string{"demo", "--duration", "10ms"}, 2, "--duration 10ms: write 1s to"},
		"demo's outage":     {[]string{"demo", "--outage", "2h"}, 2, "--outage 2h0m0s: write 100ms to"},
		"demo's output":     {[]string{"demo", "-o", "yaml"}, 2, "write one of text, json"},
		"send nowhere":      {[]string{"send", "-c", good}, 2, "accepts between 1 and 2 arg"},
		"send no body":      {[]string{"send", "-c", good, "paris/orders"}, 2, "--file FILE"},
		"send two bodies":   {[]string{"send", "-c", good, "paris/orders", "x", "--file", "-"}, 2, "not both"},
		"send no file":      {[]string{"send", "-c", good, "paris/orders", "--file", "absent"}, 3, "absent"},
		"send priority":     {[]string{"send", "-c", good, "paris/orders", "x", "--priority", "256"}, 2, "--priority 256"},
		"send count":        {[]string{"send", "-c", good, "paris/orders", "x", "-n", "0"}, 2, "--count 0"},
		"send ttl":          {[]string{"send", "-c", good, "paris/orders", "x", "--ttl", "-1s"}, 2, "--ttl -1s"},
		"send header":       {[]string{"send", "-c", good, "paris/orders", "x", "-H", "region"}, 2, "write NAME=VALUE"},
		"send broker":       {[]string{"send", "-c", good, "rome/orders", "x"}, 2, "berlin, paris"},
		"send no address":   {[]string{"send", "-c", good, "paris/", "x"}, 2, "BROKER/NAME"},
		"send form":         {[]string{"send", "-c", good, "paris/orders", "x", "--form", "queue"}, 2, `--form "queue"`},
		"send no config":    {[]string{"send", "paris/orders", "x"}, 2, "use -c FILE"},
		"receive broker":    {[]string{"receive", "-c", good, "rome/ORDERS"}, 2, "berlin, paris"},
		"receive form":      {[]string{"receive", "-c", good, "berlin/ORDERS", "--form", "topic"}, 2, `--form "topic"`},
		"receive count":     {[]string{"receive", "-c", good, "berlin/ORDERS", "-n", "0"}, 2, "--count 0"},
		"receive keep":      {[]string{"receive", "-c", good, "berlin/ORDERS", "-n", "65536", "--keep"}, 2, "--count 65536"},
		"receive timeout":   {[]string{"receive", "-c", good, "berlin/ORDERS", "--timeout", "0s"}, 2, "--timeout 0s"},
		"status output":     {[]string{"status", "-o", "yaml"}, 2, "write one of table, wide, json"},
		"status argument":   {[]string{"status", "orders"}, 2, "unknown command"},
		"spool unknown":     {[]string{"spool", "list"}, 2, "unknown command \"list\""},
		"spool misspelt":    {[]string{"spool", "verfy"}, 2, "did you mean verify?"},
		"spool alone":       {[]string{"spool"}, 0, "verify"},
		"export nothing":    {[]string{"spool", "export", "-c", good}, 2, "accepts 1 arg"},
		"purge sequence":    {[]string{"spool", "purge", "-c", good, "x", "--seq", "two"}, 2, "--seq"},
		"two journals":      {[]string{"spool", "ls", "--dir", "x", "--repeater", "y"}, 2, "none of the others can be"},
		"receive output":    {[]string{"receive", "-c", good, "berlin/ORDERS", "-o", "yaml"}, 2, "write one of text, json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POSTHOUSE_CONFIG", "")
			posthouse(t, c.args...).want(t, c.code, c.says)
		})
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	t.Setenv("POSTHOUSE_CONFIG", write(t, "t.yaml", "version: 2\n"))
	posthouse(t, "run").want(t, 2, "K007")
}

func TestVersion(t *testing.T) {
	r := posthouse(t, "version")
	r.want(t, 0, "posthouse "+version+"\n", "\ncommit    ", "\ngo        "+runtime.Version()+" ", "\nspool     format 1\n", "\nbrokers   amqp, ", "kafka, ")
	posthouse(t, "--version").want(t, 0, version)
}

func TestCompletion(t *testing.T) {
	for shell, text := range map[string]string{
		"bash": "complete -o default -F __start_posthouse posthouse", "zsh": "#compdef posthouse",
		"fish": "complete -c posthouse", "powershell": "Register-ArgumentCompleter -CommandName 'posthouse'",
	} {
		posthouse(t, "completion", shell).want(t, 0, text)
	}
	file := filepath.Join("..", "..", "examples", "two-sites-amqp.yaml")
	for want, args := range map[string][]string{
		"berlin/\nparis/\n":    {"send", "-c", file, ""},
		"paris/\n":             {"receive", "-c", file, ""}, // among others
		"text\njson\ngithub\n": {"check", "--format", ""},
		"explain\t":            {"ex"},
	} {
		posthouse(t, append([]string{"__complete"}, args...)...).want(t, 0, want)
	}
	posthouse(t, "__complete", "send", "-c", "absent.yaml", "").want(t, 0, ":4") // offers nothing, not even files
}

func TestExplain(t *testing.T) {
	posthouse(t, "explain", "F002").want(t, 0, "A message has no such field")
	posthouse(t, "explain", "fields").want(t, 0, "priority", "header")
}

func TestSchemaTakesTheExamples(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(posthouse(t, "schema").out))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("topology.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("topology.json")
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("../../examples/*.yaml")
	if len(files) < 4 {
		t.Fatalf("only %d examples", len(files))
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(asJSON(t, src)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if err := s.Validate(asJSON(t, bytes.Replace(src, []byte("\nbrokers:"), []byte("\nborkers:"), 1))); err == nil {
			t.Errorf("%s: the schema takes a misspelt key", f)
		}
	}
}

func asJSON(t *testing.T, src []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestReferencePageIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := posthouse(t, "schema", "-o", "markdown").out; got != string(page) {
		t.Error("docs/reference.md is stale: posthouse schema -o markdown > docs/reference.md")
	}
}

// TestInterrupted plays Ctrl-C: what was asked for is not done, and it says so in one line.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ln := listen(t)
	file := write(t, "t.yaml", `version: 1
brokers: { n: { type: nats, addresses: ["nats://`+ln.Addr().String()+`"] } }
routes: [{ name: r, from: { broker: n, stream: A }, to: { broker: n, subject: b } }]
`)
	for _, args := range [][]string{{"receive", "-c", file, "n/A"}, {"send", "-c", file, "n/b", "x"}, {"demo"}} {
		var out, errs bytes.Buffer
		root := rootCommand()
		root.SetArgs(args)
		root.SetOut(&out)
		root.SetErr(&errs)
		if err := root.ExecuteContext(ctx); err == nil || !strings.HasSuffix(err.Error(), errInterrupted.Error()) {
			t.Errorf("%s: %v", args[0], err)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestExitCodesAreThoseOfTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for code, word := range map[int]string{exitRuntime: "run-time", exitConfig: "configuration", exitEnvironment: "environment"} {
		if text := strings.Join(strings.Fields(string(manual)), " "); !strings.Contains(text, fmt.Sprintf("**%d** %s", code, word)) {
			t.Errorf("the manual does not say that %d is %s", code, word)
		}
	}
}
