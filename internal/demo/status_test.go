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
		"good": `{"spool":{"recovery":{"records":7,"torn_bytes":3,"took_seconds":0.5}},"routes":[{"name":"other","lanes":[{"state":"pass-through"}]},{"name":"prices.paris.madrid","lanes":[{"state":"draining",
			"waiting_messages":1,"in_flight_messages":2,"spooled_messages":3,"spooled_bytes":4,"oldest_message_at":"2026-01-02T03:04:05Z"}]}],"bridges":[{"outstanding_requests":5},{"outstanding_requests":1}]}`,
		"no spool":  `{"spool":null,"routes":[{"lanes":[{"state":"blocked"}]}]}`,
		"no lane":   `{"routes":[{"lanes":[]}]}`,
		"idle":      `{"routes":[{"lanes":[{"state":"pass-through"},{"state":"pass-through"}]}]}`,
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
	for name, want := range map[string]string{"not JSON": "invalid character", "no answer": "404"} {
		answer = answers[name]
		if _, err := readStatus(t.Context(), addr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for name, idle := range map[string]bool{"no spool": false, "no lane": false, "idle": true, "good": false} {
		answer = answers[name]
		if st, err := readStatus(t.Context(), addr); err != nil || st.idle() != idle || name != "good" && (st.Spool != nil || !st.cut().empty() || st.cut().age() != 0) {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
	answer = answers["good"]
	st, err := readStatus(t.Context(), addr)
	l := st.cut()
	if err != nil || st.spooled() != 3 || st.outstanding() != 6 || st.Spool == nil || st.Spool.Recovery.Messages != 7 || l.State != "draining" || l.empty() || l.age() < time.Hour {
		t.Errorf("good: %+v, %+v, %v", st, l, err)
	}
}
