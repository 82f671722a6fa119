package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// live counts the messages of a lane.
func live(t *testing.T, file, lane string) (n int) {
	t.Helper()
	r := posthouse(t, "spool", "ls", "-c", file, "-o", "json")
	var l listing
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool ls", ""), &l); err != nil {
		t.Fatal(err)
	}
	for _, x := range l.Lanes {
		if x.Name == lane {
			return int(x.Messages)
		}
	}
	return 0
}

// audited returns the entries of the audit log.
func audited(t *testing.T, dir string) (out []entry) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, auditFile))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestPurgeOrphan(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 3, "orders/b", "old/berlin")
	purge := func(args ...string) result {
		return posthouse(t, append([]string{"spool", "purge", "-c", file}, args...)...)
	}
	purge("old/berlin").want(t, 2, "purge needs --reason TEXT")
	purge("old/berlin", "--dry-run").want(t, 0, "3 messages of lane old/berlin (", "will be given up for good (dry run: nothing was done)")
	purge("old/berlin", "--reason", "gone").want(t, 2, "needs --yes where nobody can be asked")
	purge("old/paris", "--reason", "gone", "--yes").want(t, 2, `no lane "old/paris"`, "[R011]")
	if n := live(t, file, "old/berlin"); n != 3 || len(audited(t, dir)) != 0 {
		t.Errorf("%d messages, log %v: something was done", n, audited(t, dir))
	}
	r := purge("old/berlin", "--reason", "route removed", "--yes", "-o", "json")
	r.want(t, 0)
	var p purged
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool purge", ""), &p); err != nil || p.Messages != 3 || p.Lane != "old/berlin" || p.DryRun {
		t.Errorf("%v in %s", err, r.out)
	}
	if a, b := live(t, file, "old/berlin"), live(t, file, "orders/b"); a != 0 || b != 3 {
		t.Errorf("%d and %d messages, want 0 and 3", a, b)
	}
	log := audited(t, dir)
	if len(log) != 1 || log[0].Action != "purge" || log[0].Object != "old/berlin" || log[0].Count != 3 || log[0].Reason != "route removed" || log[0].Result != "ok" || log[0].User == "" || log[0].Time.IsZero() {
		t.Errorf("%+v", log)
	}
}

// TestPurgeKeepsRoutesLanes: what a route still has to deliver needs force, a disabled route's and a renamed one's too,
// and so does every lane where the file is not known.
func TestPurgeKeepsRoutesLanes(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 1, "orders/b", "off/b", "was/b", "old/berlin")
	for _, lane := range []string{"orders/b", "off/b", "was/b"} {
		posthouse(t, "spool", "purge", "-c", file, lane, "--reason", "x", "--yes").want(t, 2, "is that of a route of "+file, "--force")
	}
	posthouse(t, "spool", "purge", "--dir", dir, "old/berlin", "--reason", "x", "--yes").want(t, 2, "may be that of a route", "give -c FILE")
	if n := len(audited(t, dir)); n != 0 {
		t.Errorf("%d entries of the log", n)
	}
	posthouse(t, "spool", "purge", "-c", file, "was/b", "--reason", "x", "--yes", "--force").want(t, 0, "1 message of lane was/b (", " was given up for good")
	posthouse(t, "spool", "purge", "--dir", dir, "old/berlin", "--reason", "x", "--yes", "--force").want(t, 0)
}

func TestPurgeSingle(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 5, "orders/b")
	hurt(t, file, "orders/b", 4)
	purge := func(seqs string) result {
		return posthouse(t, "spool", "purge", "-c", file, "orders/b", "--force", "--yes", "--reason", "poison", "--seq", seqs)
	}
	purge("2,9").want(t, 2, "no message with sequence 9", "posthouse spool dump --lane orders/b")
	if n := live(t, file, "orders/b"); n != 4 {
		t.Errorf("%d messages after a refusal, want 4 and a damaged one", n)
	}
	purge("2,4,2").want(t, 0, "2 messages of lane orders/b were given up for good") // 4 is damaged: that is how it ends
	r := posthouse(t, "spool", "export", "-c", file, "orders/b")
	r.want(t, 0)
	for i, want := range []bool{true, false, true, false, true} {
		if got := strings.Contains(r.out, "canary-body "+string(rune('1'+i))); got != want {
			t.Errorf("message %d is there: %v, want %v", i+1, got, want)
		}
	}
	purge("2").want(t, 2, "no message with sequence 2")
	posthouse(t, "spool", "purge", "-c", file, "orders/b", "--seq", "-1").want(t, 2, "--seq")
	if log := audited(t, dir); len(log) != 1 || log[0].Count != 2 {
		t.Errorf("%+v", log)
	}
}

// TestPurgeAsks: on a terminal it asks; an answer that is not yes does nothing. /dev/null is a terminal without an answer.
func TestPurgeAsks(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 2, "old/berlin")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	var out, errs bytes.Buffer
	code := execute([]string{"spool", "purge", "-c", file, "old/berlin", "--reason", "x"}, null, &out, &errs)
	if code != 2 || !strings.Contains(errs.String(), "2 messages of lane old/berlin") || !strings.Contains(errs.String(), "Do it? [y/N]") || !strings.Contains(errs.String(), "nothing was done") {
		t.Errorf("exit %d, %s%s", code, out.String(), errs.String())
	}
	if n := live(t, file, "old/berlin"); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestAcknowledge(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 2, "orders/b", "old/berlin")
	ack := func(args ...string) result {
		return posthouse(t, append([]string{"spool", "acknowledge", "-c", file}, args...)...)
	}
	ack().want(t, 0, "no segment is damaged: there is nothing to acknowledge")
	hurtHeader(t, file, "old/berlin")
	ack("--reason", "x").want(t, 1, `2 of lane "old/berlin"`, "let the lanes drain", "posthouse spool salvage")
	posthouse(t, "spool", "purge", "-c", file, "old/berlin", "--reason", "x", "--yes").want(t, 0)
	posthouse(t, "spool", "verify", "-c", file).want(t, 1, "damaged")
	ack("--dry-run").want(t, 0, "1 damaged segment would be set aside (dry run: nothing was done)")
	r := ack("--reason", "disk replaced", "-o", "json")
	r.want(t, 0)
	var a acknowledged
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool acknowledge", ""), &a); err != nil || len(a.Moved) != 1 || a.Damaged != 1 {
		t.Fatalf("%v in %s", err, r.out)
	}
	if _, err := os.Stat(filepath.Join(dir, a.Moved[0])); err != nil {
		t.Error(err)
	}
	posthouse(t, "spool", "verify", "-c", file).want(t, 0, "2 messages of ", ": ok")
	if log := audited(t, dir); len(log) != 3 || log[0].Result == "ok" || log[2].Action != "acknowledge" || log[2].Reason != "disk replaced" || log[2].Object != a.Moved[0] {
		t.Errorf("%+v", log)
	}
}

func TestSalvage(t *testing.T) {
	file, dir := kept(t)
	fill(t, dir, "", 3, "orders/b", "old/berlin")
	hurt(t, file, "old/berlin", 2)
	to := filepath.Join(t.TempDir(), "fresh")
	r := posthouse(t, "spool", "salvage", "-c", file, to, "-o", "json")
	r.want(t, 0)
	var s salvaged
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "spool salvage", ""), &s); err != nil || s.Records != 5 || s.Lost != 1 || len(s.Missing) != 1 || s.Lanes != 2 || s.To != to {
		t.Errorf("%v in %s", err, r.out)
	}
	posthouse(t, "spool", "verify", "--dir", to).want(t, 0, "5 messages of 2 lanes", ": ok")
	posthouse(t, "spool", "export", "--dir", to, "old/berlin").want(t, 0, "canary-body 1 of old/berlin", "canary-body 3 of old/berlin")
	posthouse(t, "spool", "salvage", "-c", file, to).want(t, 2, to+" holds a journal already", "name an empty directory")
	posthouse(t, "spool", "salvage", "-c", file, filepath.Join(to, "a", "b")).want(t, 3, "cannot be made", "[E103]")
	posthouse(t, "spool", "salvage", "-c", file, filepath.Join(t.TempDir(), "other")).want(t, 0, "5 messages of 2 lanes (", "1 message could not be read")
	if n := live(t, file, "orders/b"); n != 3 {
		t.Errorf("the old journal has %d messages, want 3", n)
	}
}
