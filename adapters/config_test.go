package adapters

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

const canary = "canary-5f1e"

func TestSecretIsNeverShown(t *testing.T) {
	c := Config{Name: "paris", Credentials: Credentials{User: "u", Password: NewSecret(canary), Token: NewSecret(canary)}}
	j, err := json.Marshal(c.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(c.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("login", "password", c.Credentials.Password, "credentials", c.Credentials)
	}
	all := strings.Join([]string{string(j), string(y), log.String(), fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%s %q %x %v", c.Credentials.Password, c.Credentials.Password, c.Credentials.Password, &c.Credentials),
		fmt.Errorf("login: %v", c.Credentials.Password).Error(), c.Credentials.Password.String(), c.Credentials.Password.GoString()}, "\n")
	if strings.Contains(all, canary) || strings.Contains(all, fmt.Sprintf("%x", canary)) {
		t.Errorf("the secret is shown:\n%s", all)
	}
	if !strings.Contains(all, redacted) {
		t.Error("nothing tells that a secret stood there")
	}
	if c.Credentials.Password.Reveal() != canary || c.Credentials.Password.IsZero() || !(Secret{}).IsZero() {
		t.Error("the secret is not kept")
	}
}

func TestDefaults(t *testing.T) {
	c := Config{}.WithDefaults()
	want := Limits{Prefetch: 256, PrefetchBytes: 64 << 20, InFlight: 256, MaxSize: 64 << 20, Confirm: 30 * time.Second}
	if c.Limits != want || c.Heartbeat != 10*time.Second || c.Dial == nil || c.Now == nil || c.Log == nil {
		t.Errorf("defaults: %+v", c)
	}
	own := Limits{Prefetch: 1, PrefetchBytes: 2, InFlight: 3, MaxSize: 4, Confirm: 5}
	if got := (Config{Limits: own, Heartbeat: time.Second}).WithDefaults(); got.Limits != own || got.Heartbeat != time.Second {
		t.Errorf("what is set must stay: %+v", got)
	}
}

func TestOptionsAreTyped(t *testing.T) {
	o := Options{"s": "x", "b": true, "i": int64(7), "int": 8, "d": time.Minute, "l": []string{"a"}, "o": Options{"k": "v"}}
	if o.String("s", "") != "x" || !o.Bool("b", false) || o.Int("i", 0) != 7 || o.Int("int", 0) != 8 ||
		o.Duration("d", 0) != time.Minute || len(o.Strings("l")) != 1 || o.Sub("o").String("k", "") != "v" {
		t.Error("a value was not found under its key")
	}
	if o.String("i", "def") != "def" || o.Bool("s", true) != true || o.Int("s", 3) != 3 || o.Duration("i", 4) != 4 ||
		o.Strings("s") != nil || o.Sub("s") != nil || o.String("missing", "def") != "def" {
		t.Error("a value of another type, or none, must give the default")
	}
	var none Options
	if none.String("x", "def") != "def" || none.Sub("x") != nil {
		t.Error("nil options have no values")
	}
}

func TestUnknownOptionsAreNamed(t *testing.T) {
	o := Options{"dialect": "artemis", "zzz": 1, "aaa": 2}
	err := o.Unknown("dialect", "group")
	var first *OptionError
	if !errors.As(err, &first) || first.Key != "aaa" {
		t.Errorf("first unknown key: %v", err)
	}
	for _, want := range []string{"aaa: unknown key", "zzz: unknown key", "known: [dialect group]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	if err := o.Unknown("dialect", "zzz", "aaa"); err != nil {
		t.Error(err)
	}
	if got := (&OptionError{Key: "dialect", Problem: "unknown word"}).Error(); got != "dialect: unknown word" {
		t.Error(got)
	}
}
