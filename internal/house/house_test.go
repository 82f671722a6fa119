// Package house checks what holds for the whole repository: which package may import which, and how long functions,
// files and interfaces may be.
package house

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/posthouse/posthouse/"
	root   = "../.."
)

// layers says which of our packages each folder may import. The longest matching folder counts; a folder ending in /...
// stands for everything below it.
var layers = map[string][]string{
	"adapters":             {},
	"adapters/all":         {"adapters", "adapters/..."},
	"adapters/adaptertest": {"adapters"},
	"adapters/ibmmq":       {"adapters", "internal/mqi", "internal/failpoint"},
	"adapters/kafka":       {"adapters", "internal/failpoint"}, // C22 is inside its transactions
	"adapters/...":         {"adapters"},                       // one folder per kind: none imports another
	"bridge":               {"adapters"},
	"routes":               {"adapters", "bridge", "routes/..."},
	"routes/picture":       {"routes"},
	"routes/...":           {},
	"spool":                {"spool/...", "internal/failpoint"},
	"spool/...":            {"spool", "spool/...", "internal/failpoint"},
	"repeater":             {"adapters", "bridge", "routes", "spool", "spool/...", "internal/failpoint"},
	"repeater/admin":       {"repeater", "adapters", "bridge", "routes", "spool"},
	"repeater/console":     {"repeater", "repeater/admin", "adapters", "routes", "routes/picture"},
	"cmd/...":              {"..."},
	"examples":             {},
	"internal/...":         {"..."},
}

type file struct {
	path string // from the root
	ast  *ast.File
	fset *token.FileSet
	test bool
	gen  bool
}

func files(t *testing.T) []file {
	t.Helper()
	var fs_ []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		fs_ = append(fs_, file{rel, f, set, strings.HasSuffix(path, "_test.go"), ast.IsGenerated(f)})
		return nil
	})
	if err != nil || len(fs_) < 10 {
		t.Fatalf("read the repository: %d files, %v", len(fs_), err)
	}
	return fs_
}

func ruleFor(table map[string][]string, dir string) ([]string, bool) {
	if r, ok := table[dir]; ok {
		return r, true
	}
	for d := dir; d != "."; d = filepath.Dir(d) {
		if r, ok := table[filepath.Join(filepath.Dir(d), "...")]; ok {
			return r, true
		}
	}
	return nil, false
}

func allowed(rule []string, pkg string) bool {
	return slices.ContainsFunc(rule, func(r string) bool {
		prefix, tree := strings.CutSuffix(r, "...")
		return r == pkg || tree && strings.HasPrefix(pkg, prefix)
	})
}

// testLayers says what tests may import beyond that: they reach down to fakes, suites and real brokers, but an adapter
// does not meet another one even there, and nobody imports the command.
var testLayers = map[string][]string{
	"adapters":             {},
	"adapters/all":         {},
	"adapters/adaptertest": {"adapters/mem"},
	"adapters/kafka":       {"adapters/adaptertest", "internal/testbed/broker"},
	"adapters/ibmmq":       {"adapters/adaptertest", "internal/mqi/..."},
	"adapters/...":         {"adapters/adaptertest", "internal/testbed/broker"},
	"bridge":               {"adapters/..."}, // the real encode and decode of both ends
	"routes":               {"adapters/..."},
	"routes/picture":       {},
	"routes/...":           {},
	"spool":                {"spool/..."},
	"spool/...":            {"spool", "spool/..."},
	"repeater":             {"adapters/mem"},
	"repeater/console":     {},
	"repeater/admin":       {"adapters/mem"},
	"cmd/...":              {"..."},
	"examples":             {"adapters/adaptertest", "internal/testbed/broker", "internal/mqi/..."}, // for its fault proxy; ours is run as a program
	"internal/...":         {"..."},
}

// mayImport reports whether a file of folder dir may import our package pkg, and whether a rule says so at all.
func mayImport(dir, pkg string, test bool) (may, ruled bool) {
	rule, ruled := ruleFor(layers, dir)
	if test {
		more, _ := ruleFor(testLayers, dir)
		rule = slices.Concat(rule, more)
	}
	ofCommand := strings.HasPrefix(dir, "cmd/")
	return pkg == dir || allowed(rule, pkg) && (ofCommand || !strings.HasPrefix(pkg, "cmd/")), ruled
}

func TestLayers(t *testing.T) {
	for _, f := range files(t) {
		dir := filepath.Dir(f.path)
		for _, im := range f.ast.Imports {
			path, _ := strconv.Unquote(im.Path.Value)
			if pkg, ours := strings.CutPrefix(path, module); ours {
				if may, ruled := mayImport(dir, pkg, f.test); !ruled {
					t.Errorf("%s: folder %s has no line in the table of layers", f.path, dir)
				} else if !may {
					t.Errorf("%s imports %s, which the table of layers does not allow there", f.path, pkg)
				}
			}
			if im.Name != nil && im.Name.Name == "_" && !f.test {
				t.Errorf("%s: blank import of %s", f.path, path)
			}
		}
	}
}

// TestLayersBite: imports that must never pass, whatever else the table comes to allow.
func TestLayersBite(t *testing.T) {
	for _, c := range []struct {
		dir, pkg string
		test     bool
		want     bool
	}{
		{"adapters/nats", "adapters", false, true},
		{"adapters/nats", "adapters/kafka", false, false},
		{"adapters/nats", "adapters/kafka", true, false},
		{"adapters/nats", "adapters/adaptertest", false, false},
		{"adapters/nats", "adapters/adaptertest", true, true},
		{"adapters/nats", "bridge", true, false},
		{"adapters/adaptertest", "adapters/amqp", true, false},
		{"adapters/all", "adapters/kafka", false, true},
		{"adapters", "adapters/mem", false, false},
		{"bridge", "routes", false, false},
		{"routes", "adapters/amqp", false, false},
		{"routes", "repeater", true, false},
		{"repeater", "adapters/mem", false, false},
		{"repeater", "adapters/amqp", true, false},
		{"repeater/admin", "adapters/kafka", false, false},
		{"spool", "adapters", false, false},
		{"spool/vfs", "routes", true, false},
		{"examples", "repeater", true, false},
		{"internal/bench", "cmd/posthouse/flags", false, false},
		{"internal/bench", "cmd/posthouse/flags", true, false},
		{"cmd/posthouse", "cmd/posthouse/flags", false, true},
	} {
		if got, _ := mayImport(c.dir, c.pkg, c.test); got != c.want {
			t.Errorf("%s imports %s (test: %t): allowed %t, want %t", c.dir, c.pkg, c.test, got, c.want)
		}
	}
	if _, ruled := mayImport("toolbox", "adapters", false); ruled {
		t.Error("a new top-level folder passes without a line in the table")
	}
}

func TestEveryFolderOfTheTableCanExist(t *testing.T) {
	for dir := range layers {
		if _, ok := testLayers[dir]; !ok {
			t.Errorf("%s: no line for its tests", dir)
		}
		top := strings.Split(dir, "/")[0]
		if !slices.Contains([]string{"adapters", "bridge", "routes", "spool", "repeater", "cmd", "examples", "internal"}, top) {
			t.Errorf("%s: top-level folders are fixed", dir)
		}
	}
}

// House numbers (CONTRIBUTING.md).
const (
	maxFunction  = 100
	p90Function  = 40
	midFunction  = 10
	maxFile      = 500
	maxInterface = 4
)

func TestHouseNumbers(t *testing.T) {
	var lengths []int
	for _, f := range files(t) {
		if f.test || f.gen {
			continue
		}
		if n := f.fset.File(f.ast.Pos()).LineCount(); n > maxFile {
			t.Errorf("%s: %d lines, at most %d: split it by idea", f.path, n, maxFile)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch d := n.(type) {
			case *ast.FuncDecl:
				lengths = append(lengths, checkFunction(t, f, d))
			case *ast.TypeSpec:
				checkInterface(t, f, d)
			}
			return true
		})
	}
	slices.Sort(lengths)
	median, p90 := lengths[len(lengths)/2], lengths[len(lengths)*9/10]
	if median > midFunction || p90 > p90Function {
		t.Errorf("%d functions: median %d lines (at most %d), p90 %d (at most %d)", len(lengths), median, midFunction, p90, p90Function)
	}
}

func checkFunction(t *testing.T, f file, d *ast.FuncDecl) int {
	n := f.fset.Position(d.End()).Line - f.fset.Position(d.Pos()).Line + 1
	if n > maxFunction {
		t.Errorf("%s: func %s has %d lines, at most %d", f.path, d.Name.Name, n, maxFunction)
	}
	if d.Name.Name == "init" && d.Recv == nil {
		t.Errorf("%s: func init", f.path)
	}
	if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !wellKnown(d) {
		t.Errorf("%s: exported %s has no doc comment", f.path, d.Name.Name)
	}
	return n
}

// wellKnown methods need no comment: their contract is the standard library's.
func wellKnown(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"String", "Error", "Unwrap", "Close", "Is"}, d.Name.Name)
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if s, ok := typ.(*ast.StarExpr); ok {
		typ = s.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// reasoned are interfaces of five to seven methods, whose comment gives the reason.
var reasoned = []string{"Adapter", "Harness"}

func checkInterface(t *testing.T, f file, d *ast.TypeSpec) {
	i, ok := d.Type.(*ast.InterfaceType)
	if !ok {
		return
	}
	if n := len(i.Methods.List); n > 7 || n > maxInterface && !slices.Contains(reasoned, d.Name.Name) {
		t.Errorf("%s: interface %s has %d methods, at most %d", f.path, d.Name.Name, n, maxInterface)
	}
}

func TestNoSleepInTests(t *testing.T) {
	for _, f := range files(t) {
		if !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if id, ok := s.X.(*ast.Ident); ok && id.Name == "time" && !inBubble(f) {
					t.Errorf("%s:%d: time.Sleep in a test: wait for the event", f.path, f.fset.Position(n.Pos()).Line)
				}
			}
			return true
		})
	}
}

// inBubble reports whether f's tests run in virtual time, where a sleep is no waiting.
func inBubble(f file) bool {
	return slices.ContainsFunc(f.ast.Imports, func(im *ast.ImportSpec) bool { return im.Path.Value == `"testing/synctest"` })
}

// TestDocumentsLink: every relative link in a document leads to a file.
func TestDocumentsLink(t *testing.T) {
	docs, _ := filepath.Glob(filepath.Join(root, "*.md"))
	more, _ := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	for _, doc := range append(docs, more...) {
		src, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(src), "](")[1:] {
			link, _, _ := strings.Cut(part, ")")
			link, _, _ = strings.Cut(link, "#")
			if link == "" || strings.Contains(link, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), link)); err != nil {
				t.Errorf("%s: link to %s leads nowhere", doc, link)
			}
		}
	}
}

// foreign are names that belong to one machine or to one download service: homes and work folders, and the hosts of
// package registries, which a mirror or a proxy replaces. Tools find theirs in their own configuration.
var foreign = regexp.MustCompile(`(?:^|[^\w./-])/(?:root|home|work|Users)/\w` +
	`|\b(?:proxy|sum|index)\.golang\.org|\brepo1?\.maven\.|\bmaven\.org\b|\bregistry\.npmjs\.|\bpypi\.org\b` +
	`|\b(?:deb|ftp|security|snapshot)\.debian\.org|\barchive\.ubuntu\.com|\bcrates\.io\b`)

// namesMachine returns what in text names a machine or a registry, empty if nothing does. here are paths of this machine.
func namesMachine(text string, here ...string) string {
	for _, path := range here {
		if strings.Contains(text, path) {
			return path
		}
	}
	return foreign.FindString(text)
}

// TestNamesNoMachine: no file of the repository, code or not, names a registry's host or a path of a machine.
func TestNamesNoMachine(t *testing.T) {
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".git" {
			return cmp.Or(err, fs.SkipDir)
		}
		if !d.Type().IsRegular() || d.Name() == ".git" { // a file where the tree is one of several
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil || slices.Contains(src, 0) { // a program somebody built here
			return err
		}
		read++
		for n, line := range strings.Split(string(src), "\n") {
			if name := namesMachine(line, here+"/"); name != "" {
				t.Errorf("%s:%d names %q", path, n+1, name)
			}
		}
		return nil
	})
	if err != nil || read < 100 {
		t.Errorf("%d files read, %v", read, err)
	}
}

func TestNamesNoMachineBites(t *testing.T) {
	dot := func(parts ...string) string { return strings.Join(parts, ".") }
	dir := func(parts ...string) string { return "/" + strings.Join(parts, "/") }
	for text, want := range map[string]bool{
		"see " + dir("root", "x"):                          true,
		"dir: \"" + dir("home", "ann", "jetstream"):        true,
		"`" + dir("work", "main") + "`":                    true,
		dir("srv", "checkout", "a.go"):                     true,
		"GOPROXY=https://" + dot("proxy", "golang", "org"): true,
		"https://" + dot("repo1", "maven", "org") + "/x":   true,
		"deb http://" + dot("deb", "debian", "org"):        true,
		"/var/lib/posthouse and /etc/posthouse/p.pem":      false,
		"a network/work/queue, ./home/x, https://h/root/x": false,
		"a1.example.net:5671":                              false,
	} {
		if got := namesMachine(text, dir("srv", "checkout")+"/"); (got != "") != want {
			t.Errorf("%q: found %q, want one: %t", text, got, want)
		}
	}
}
