package demo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadStatus(t *testing.T) {
	answers := map[string]string{
		"good": `{"spool":{"recovery":{"records":7,"torn_bytes":3,"took_seconds":0.5}},"routes":[{"lanes":[{"state":"draining",
			"waiting_messages":1,"in_flight_messages":2,"spooled_messages":3,"spooled_bytes":4,"oldest_message_at":"2026-01-02T03:04:05Z"}]}]}`,
		"no spool":  `{"spool":null,"routes":[{"lanes":[{"state":"blocked"}]}]}`,
		"no lane":   `{"routes":[{"lanes":[]}]}`,
		"not JSON":  `hello`,
		"no answer": "",
	}
	var answer string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/status" || answer == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	addr := strings.TrimPrefix(srv.URL, "http://")
	for name, want := range map[string]string{"no lane": "one route with one lane", "not JSON": "invalid character", "no answer": "404"} {
		answer = answers[name]
		if _, _, err := readStatus(t.Context(), addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	answer = answers["no spool"]
	if st, l, err := readStatus(t.Context(), addr); err != nil || st.Spool != nil || !l.empty() || l.age() != 0 {
		t.Errorf("no spool: %+v, %+v, %v", st, l, err)
	}
	answer = answers["good"]
	st, l, err := readStatus(t.Context(), addr)
	if err != nil || st.Spool == nil || st.Spool.Recovery.Messages != 7 || l.State != "draining" || l.empty() || l.age() < time.Hour {
		t.Errorf("good: %+v, %+v, %v", st, l, err)
	}
}
