//go:build cgo && ibmmq

package mqi_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibm-messaging/mq-golang/v5/ibmmq"

	"github.com/posthouse/posthouse/internal/mqi"
)

// connect connects through the real binding and returns the reason.
func connect() int32 {
	_, err := ibmmq.Connx("QM1", nil)
	var r *ibmmq.MQReturn
	if errors.As(err, &r) {
		return r.MQRC
	}
	return 0
}

// alone runs the calling test again in a process of its own, for a process loads one library only, and reports whether
// this is that process. env is added there.
func alone(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv("MQI_ALONE") == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(append(os.Environ(), env...), "MQI_ALONE="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// library compiles a client library of the given C text into dir.
func library(t *testing.T, path, text string) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "lib.c")
	if err := os.WriteFile(src, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	include, _ := filepath.Abs("include")
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-I"+include, "-o", path, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// calls are the 22 of the MQI.
const calls = "MQBACK MQBEGIN MQCB MQCLOSE MQCMIT MQCONNX MQCRTMH MQCTL MQDISC MQDLTMH MQDLTMP " +
	"MQGET MQINQ MQINQMP MQOPEN MQPUT MQPUT1 MQSET MQSETMP MQSTAT MQSUB MQSUBRQ"

// refusing is a client library whose MQCONNX refuses with a reason, and that has all other calls but without.
func refusing(reason, without string) string {
	text := "void MQCONNX(char *n, void *o, int *h, int *cc, int *rc) { *cc = 2; *rc = " + reason + "; }\n"
	for call := range strings.FieldsSeq(calls) {
		if call != "MQCONNX" && call != without {
			text += "void " + call + "(void) {}\n"
		}
	}
	return text
}

func TestNoLibrary(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "libmqm_r.so")
	if !alone(t, "POSTHOUSE_MQ_LIB="+missing) {
		return
	}
	missing = os.Getenv("POSTHOUSE_MQ_LIB")
	if got := connect(); got != mqi.ReasonNoLibrary {
		t.Errorf("connect: reason %d, want %d", got, mqi.ReasonNoLibrary)
	}
	err := mqi.Last().Err()
	for _, part := range []string{"install IBM's MQ client or set POSTHOUSE_MQ_LIB", missing, "No such file"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want %q in it", err, part)
		}
	}
}

func TestUsualPlaces(t *testing.T) {
	if !alone(t, "POSTHOUSE_MQ_LIB=", "LD_LIBRARY_PATH=") {
		return
	}
	if connect() == 0 {
		t.Skip("a client is installed here")
	}
	tried := mqi.Last().Tried
	byName, byPath := strings.Index(tried, "libmqm_r.so ("), strings.Index(tried, "/opt/mqm/lib64/libmqm_r.so (")
	if byName != 0 || byPath < byName {
		t.Errorf("tried %q, want the name and then the path", tried)
	}
}

func TestRelativePath(t *testing.T) {
	if !alone(t, "POSTHOUSE_MQ_LIB=libmqm_r.so") {
		return
	}
	if got := connect(); got != mqi.ReasonNoLibrary || !strings.Contains(mqi.Last().Tried, "not an absolute path") {
		t.Errorf("connect: reason %d, tried %q", got, mqi.Last().Tried)
	}
	if err := mqi.SetLibrary("lib/x.so"); err == nil {
		t.Error("SetLibrary takes a relative path")
	}
}

func TestTooOld(t *testing.T) {
	if !alone(t) {
		return
	}
	lib := filepath.Join(t.TempDir(), "libmqm_r.so")
	library(t, lib, refusing("2059", "MQSTAT"))
	if err := mqi.SetLibrary(lib); err != nil {
		t.Fatal(err)
	}
	if got := connect(); got != mqi.ReasonTooOld {
		t.Errorf("connect: reason %d, want %d", got, mqi.ReasonTooOld)
	}
	if err := mqi.Load(); err == nil || !strings.Contains(err.Error(), "too old: it has no MQSTAT") {
		t.Errorf("error %v, want the missing call named", err)
	}
}

func TestLibraryAppearsLater(t *testing.T) {
	if !alone(t) {
		return
	}
	lib := filepath.Join(t.TempDir(), "libmqm_r.so")
	if err := mqi.SetLibrary(lib); err != nil {
		t.Fatal(err)
	}
	if got := connect(); got != mqi.ReasonNoLibrary {
		t.Errorf("before: reason %d, want %d", got, mqi.ReasonNoLibrary)
	}
	library(t, lib, refusing("2059", ""))
	if got := connect(); got != 2059 {
		t.Errorf("afterwards: reason %d, want 2059, which the library says", got)
	}
	if s := mqi.Last(); s.Path != lib || s.Err() != nil {
		t.Errorf("status %+v, want %s loaded", s, lib)
	}
	if err := mqi.SetLibrary(lib + ".2"); err == nil {
		t.Error("SetLibrary takes a second library")
	}
}
