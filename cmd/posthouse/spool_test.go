package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/spool"
)

// kept is a file with the lanes orders/b and off/b, and where its journal is.
func kept(t *testing.T) (file, dir string) {
	t.Helper()
	root := t.TempDir()
	gone := listen(t)
	_ = gone.Close()
	text := strings.ReplaceAll(frame, "DIR", root) +
		"  - { name: off, enabled: false, renamed_from: was, from: { broker: a, stream: X }, to: { broker: b, subject: x } }\n" +
		"admin: { listen: \"" + gone.Addr().String() + "\" }\n"
	return write(t, "topology.yaml", text), filepath.Join(root, "spool", "posthouse")
}

// fill makes a journal in dir with one segment for each lane named, n messages in each.
func fill(t *testing.T, dir, owner string, n int, lanes ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range lanes { // a new segment begins with each opening
		s, _, err := spool.Open(t.Context(), spool.Options{Dir: dir, SegmentSize: 64 << 10, Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.Lane(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i <= n; i++ {
			if _, err := l.Append(t.Context(), record(t, name, i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// record is a message of a lane whose body and header hold a canary.
func record(t *testing.T, lane string, i int) spool.Record {
	t.Helper()
	m := &adapters.Message{
		Track: adapters.Track{ID: fmt.Sprintf("e.1.%d", i), Origin: "first"}, ID: adapters.StringID(fmt.Sprint("id-", i)), Durable: adapters.Yes,
		Received: 1_773_489_600_000, Props: []adapters.Prop{{Name: "note", V: adapters.String("canary-header")}},
		Body: adapters.Body{Form: adapters.BodyText, Data: fmt.Appendf(nil, "canary-body %d of %s", i, lane)},
	}
	body, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := spool.Record{ID: fmt.Appendf(nil, "src:%d", i), Body: body}
	if i == 2 {
		r.Flags = repeater.RecordMaybe
	}
	return r
}

// hurt changes one byte of the record of a lane.
func hurt(t *testing.T, file, lane string, seq uint64) {
	t.Helper()
	r := posthouse(t, "spool", "dump", "-c", file, "--lane", lane, "-o", "json")
	for line := range strings.SplitSeq(strings.TrimSpace(r.out), "\n") {
		var d dumped
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err, line)
		}
		if d.Type == "DATA" && d.Seq == seq {
			flip(t, filepath.Join(journalOf(t, file), d.File), d.Offset+d.Size/2)
			return
		}
	}
	t.Fatalf("no sequence %d of %s in %s%s", seq, lane, r.out, r.errs)
}

// hurtHeader changes one byte in one of the two headers of the segment in which a lane's first record is: everything in
// it can be read, and it is kept as evidence.
func hurtHeader(t *testing.T, file, lane string) {
	t.Helper()
	for line := range strings.SplitSeq(posthouse(t, "spool", "dump", "-c", file, "--lane", lane, "-o", "json").out, "\n") {
		var d dumped
		if json.Unmarshal([]byte(line), &d) == nil && d.Type == "DATA" {
			flip(t, filepath.Join(journalOf(t, file), d.File), 100)
			return
		}
	}
	t.Fatalf("no record of %s", lane)
}

// journalOf is the directory of the file's journal.
func journalOf(t *testing.T, file string) string {
	t.Helper()
	table, err := quietly(file, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(table.Spool.Dir, "posthouse")
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestSpoolList(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 3, "orders/b", "off/b", "was/b", "old/berlin")
	r := posthouse(t, "spool", "ls", "-c", file)
	r.want(t, 0, "12 messages in 4 lanes, ", ", closed, from the closed journal "+dir, "\norders/b    closed         3", "\nwas/b       closed  ", "\nold/berlin  orphan         3")
	posthouse(t, "spool", "ls", "--dir", dir).want(t, 0, "\nold/berlin  closed         3") // without the file nobody knows
	r = posthouse(t, "spool", "ls", "-c", file, "-o", "json")
	r.want(t, 0)
	var l listing
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool ls", ""), &l); err != nil || l.From != "journal "+dir || l.Messages != 12 || len(l.Lanes) != 4 || l.Bytes == 0 {
		t.Errorf("%v in %s", err, r.out)
	}
	r = posthouse(t, "spool", "orphans", "-c", file)
	r.want(t, 0, "3 messages in 1 orphan, from the closed journal "+dir, "old/berlin")
	if strings.Contains(r.out, "was/b") || strings.Contains(r.out, "off/b") {
		t.Errorf("a lane of the file is called an orphan: %s", r.out)
	}
	posthouse(t, "spool", "orphans", "--dir", dir).want(t, 2, "use -c FILE")
}

// TestSpoolListOfDaemon: the daemon is asked first, unless it is another one.
func TestSpoolListOfDaemon(t *testing.T) {
	t.Setenv("POSTHOUSE_CONFIG", "")
	file, dir := kept(t)
	fill(t, dir, "", 1, "orders/b")
	addr := daemon(t, sick) // its name is paris
	posthouse(t, "spool", "ls", "--admin", addr).want(t, 0, "from the running daemon "+addr, "8GiB of 10GiB, full, 1 damaged segment", "old/berlin                             orphan               1   2KiB")
	r := posthouse(t, "spool", "orphans", "--admin", addr, "-o", "json")
	r.want(t, 0)
	var l listing
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool orphans", ""), &l); err != nil || len(l.Lanes) != 1 || l.Lanes[0].Name != "old/berlin" || l.From != "daemon "+addr {
		t.Errorf("%v in %s", err, r.out)
	}
	posthouse(t, "spool", "ls", "-c", file, "--admin", addr).want(t, 0, "from the closed journal "+dir)
	posthouse(t, "spool", "ls", "-c", file, "--admin", addr, "--repeater", "paris").want(t, 0, "from the running daemon")
	posthouse(t, "spool", "ls", "--admin", daemon(t, well)).want(t, 1, "has no spool", "[P005]")
	gone := listen(t)
	_ = gone.Close()
	posthouse(t, "spool", "ls", "--admin", gone.Addr().String()).want(t, 3, "[E105]")
}

// TestSpoolNotThere: where there is nothing to look at, the exit says which mistake it was, and nothing is made.
func TestSpoolNotThere(t *testing.T) {
	t.Setenv("POSTHOUSE_CONFIG", "")
	file, dir := kept(t)
	without := write(t, "without.yaml", "version: 1\nbrokers: { n: { type: nats, addresses: [\"nats://h\"] } }\nroutes: [{ name: r, from: { broker: n, stream: A }, to: { broker: n, subject: b } }]\n")
	for _, cmd := range [][]string{{"verify"}, {"dump"}, {"export", "x"}, {"acknowledge"}, {"purge", "x", "--reason", "y", "--force", "--yes"}, {"salvage", filepath.Join(t.TempDir(), "to")}} {
		run := func(args ...string) result {
			return posthouse(t, append(append([]string{"spool"}, cmd...), args...)...)
		}
		run("-c", file).want(t, 3, "there is no journal in "+dir, "[E109]", "--repeater NAME")
		run("--dir", dir).want(t, 3, "[E109]")
		run("-c", without).want(t, 2, "has no spool section", "[P005]", "--dir DIR")
		run("-c", "absent.yaml").want(t, 3, "absent.yaml")
		run().want(t, 2, "use -c FILE, set POSTHOUSE_CONFIG, or use --dir DIR")
		run("-c", file, "--dir", dir).want(t, 2, "either -c FILE or --dir DIR")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a command that looks has made a directory")
	}
	fill(t, dir, "", 1, "orders/b")
	posthouse(t, "spool", "verify", "--dir", filepath.Dir(dir)).want(t, 3, "there is one in "+dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	posthouse(t, "spool", "verify", "-c", file).want(t, 3, "can be written to by others", "chmod 700")
}

// TestSpoolInUse: every command that needs the journal closed names the process that has it.
func TestSpoolInUse(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 1, "orders/b")
	s, _, err := spool.Open(t.Context(), spool.Options{Dir: dir, SegmentSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	who := fmt.Sprintf("spool in use by pid %d (since ", os.Getpid())
	for _, cmd := range [][]string{{"ls"}, {"orphans"}, {"verify"}, {"dump"}, {"export", "orders/b"}, {"acknowledge"}, {"purge", "orders/b", "--reason", "y", "--force", "--yes"}, {"salvage", filepath.Join(t.TempDir(), "to")}} {
		posthouse(t, append(append([]string{"spool"}, cmd...), "-c", file)...).want(t, 3, who, "[E101]", "= help: ask that process: posthouse status", fmt.Sprint("kill ", os.Getpid()))
	}
	posthouse(t, "run", "-c", file).want(t, 3, who, "[E101]")
}

func TestSpoolVerify(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 3, "orders/b", "old/berlin")
	posthouse(t, "spool", "verify", "-c", file).want(t, 0, dir+": 6 messages of 2 lanes in ", ": ok\n")
	hurt(t, file, "old/berlin", 2)
	r := posthouse(t, "spool", "verify", "-c", file)
	r.want(t, 1, "damaged: 0000", `(lane "old/berlin", sequence 2)`, " findings\n")
	if r.errs != "" {
		t.Errorf("stderr: %s", r.errs)
	}
	r = posthouse(t, "spool", "verify", "--dir", dir, "-o", "json")
	r.want(t, 1)
	var v verified
	if err := json.Unmarshal(oneAnswer(t, r.out, false, "spool verify", ""), &v); err != nil || len(v.Damage) != 1 || v.Damaged != 1 || v.Dir != dir {
		t.Errorf("%v in %s", err, r.out)
	}
}

// TestSpoolMissing: a segment that was taken away is told by lane and sequence.
func TestSpoolMissing(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 3, "orders/b", "old/berlin")
	var where string
	for line := range strings.SplitSeq(posthouse(t, "spool", "dump", "-c", file, "-o", "json", "--lane", "orders/b").out, "\n") {
		var d dumped
		if json.Unmarshal([]byte(line), &d) == nil && d.Type == "DATA" {
			where = d.File
		}
	}
	if err := os.Remove(filepath.Join(dir, where)); err != nil {
		t.Fatal(err)
	}
	posthouse(t, "spool", "verify", "-c", file).want(t, 1, `missing: lane "orders/b", sequences 1 to 3: 3 messages`)
}

// TestSpoolDump: one line per record, no body unless it is asked for.
func TestSpoolDump(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 2, "orders/b", "old/berlin")
	r := posthouse(t, "spool", "dump", "-c", file)
	r.want(t, 0, "  DATA       live     orders/b 1  id \"src:1\"\n", "old/berlin 2  id \"src:2\"  possible duplicate\n", " CLOSED     meta\n")
	if strings.Contains(r.out, "canary") {
		t.Errorf("a body shows: %s", r.out)
	}
	r = posthouse(t, "spool", "dump", "-c", file, "--lane", "orders/b", "--body")
	r.want(t, 0, `    {"posthouse_id":"e.1.1","origin":"first","id":"id-1","durable":true,"received_ms":1773489600000,"headers":[["note","canary-header"]],"body":"canary-body 1 of orders/b"}`)
	if strings.Contains(r.out, "old/berlin") {
		t.Errorf("another lane shows: %s", r.out)
	}
	hurt(t, file, "orders/b", 1)
	posthouse(t, "spool", "dump", "-c", file).want(t, 0, "  damaged  orders/b 1  bytes have changed")
}

func TestSpoolExport(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 3, "orders/b", "old/berlin")
	r := posthouse(t, "spool", "export", "-c", file, "orders/b", "--record")
	r.want(t, 0)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %s", len(lines), r.out)
	}
	for i, line := range lines {
		var got exported
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if got.Lane != "orders/b" || got.Seq != uint64(i+1) || got.Body != fmt.Sprintf("canary-body %d of orders/b", i+1) || got.Maybe != (i == 1) || got.Source != fmt.Sprint("src:", i+1) {
			t.Errorf("%+v", got)
		}
		raw, err := base64.StdEncoding.DecodeString(got.Record)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := repeater.DecodeRecord(raw); err != nil || m.ID.S != fmt.Sprint("id-", i+1) {
			t.Errorf("record: %+v, %v", m, err)
		}
	}
	posthouse(t, "spool", "export", "-c", file, "orders/c").want(t, 2, `no lane "orders/c"`, "[R011]", "lanes of the journal: old/berlin, orders/b")
	hurt(t, file, "orders/b", 2)
	r = posthouse(t, "spool", "export", "-c", file, "orders/b")
	r.want(t, 1, `missing: lane "orders/b", sequence 2: 1 message`, "1 message of lane orders/b cannot be read and left out")
	if n := strings.Count(r.out, "\n"); n != 2 {
		t.Errorf("%d messages beside a damaged one, want 2: %s", n, r.out)
	}
}
