package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

const (
	defaultAdmin = "127.0.0.1:7421"
	askTimeout   = 10 * time.Second
	mostAnswered = 64 << 20 // bytes of one answer
)

// adminFlag adds --admin, whose default is POSTHOUSE_ADMIN.
func adminFlag(c *cobra.Command) *string {
	return c.Flags().String("admin", os.Getenv("POSTHOUSE_ADMIN"), "HOST:PORT, https://HOST:PORT or unix:PATH of the daemon (default $POSTHOUSE_ADMIN, then the socket or admin.listen of the file, then "+defaultAdmin+")")
}

// adminAddress is where the daemon answers: what the flag says, else the file, if there is one.
func adminAddress(flag string, t *routes.Table) (string, error) {
	switch {
	case flag != "":
		return flag, nil
	case t == nil:
		return defaultAdmin, nil
	case t.Admin.Socket != "":
		return socketPrefix + t.Admin.Socket, nil
	}
	if _, port, err := net.SplitHostPort(t.Admin.Listen); err != nil || port == "0" {
		return "", advise(exitConfig, "", fmt.Sprintf("admin.listen of %s leaves the port to the system", t.File), "name it with --admin HOST:PORT: the daemon logs it when it starts", err)
	}
	return t.Admin.Listen, nil
}

// errNoDaemon is in every error that means that nobody answers.
var errNoDaemon = errors.New("no daemon answers")

// ask gets one document from the daemon.
func ask(ctx context.Context, addr, path string, v any) error {
	return converse(ctx, http.MethodGet, addr, path, nil, v)
}

// converse makes one request, whose body is say as JSON unless that is nil, and decodes the answer into v.
func converse(ctx context.Context, method, addr, path string, say, v any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body io.Reader
	if say != nil {
		b, err := json.Marshal(say)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, baseURL(addr)+path, body)
	if err != nil {
		return advise(exitConfig, "", fmt.Sprintf("--admin %q is no HOST:PORT", addr), "write for example "+defaultAdmin+", https://HOST:PORT or unix:PATH", err)
	}
	if say != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return request(req, addr, path, v)
}

func request(req *http.Request, addr, path string, v any) error {
	resp, body, err := answerTo(req, addr)
	if err != nil {
		return err
	}
	return decodeAnswer(resp, addr, path, body, v)
}

// answerTo is the daemon's answer; its body has been read and closed.
func answerTo(req *http.Request, addr string) (*http.Response, []byte, error) {
	tr, err := transport(addr)
	if err == nil {
		err = prove(req)
	}
	if err != nil {
		return nil, nil, err
	}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, nil, unreached(addr, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswered))
	if err != nil {
		return nil, nil, noDaemon(addr, err)
	}
	return resp, body, nil
}

func noDaemon(addr string, err error) error {
	return advise(exitEnvironment, codeNoDaemon, fmt.Sprintf("no daemon answers at %s: %v", addr, err),
		"start it with posthouse run -c FILE, or say where it listens: --admin HOST:PORT", errors.Join(errNoDaemon, err))
}

func decodeAnswer(resp *http.Response, addr, path string, body []byte, v any) error {
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, v); err != nil {
			return advise(exitEnvironment, codeNoDaemon, fmt.Sprintf("what answers at %s is no posthouse: %v", addr, err), "say where the daemon listens: --admin HOST:PORT", err)
		}
		return nil
	}
	var p struct{ Code, Detail, Help string }
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		return advise(exitEnvironment, codeNoDaemon, fmt.Sprintf("%s has no %s (%s): no posthouse, or one older than this program", addr, path, resp.Status),
			"use the program of the daemon's version, or say where the daemon listens: --admin HOST:PORT", nil)
	}
	return advise(exitRuntime, p.Code, p.Detail, p.Help, nil)
}

// A view is the daemon's status, as far as people are shown it. It is decoded from the document and not from the type of
// the repeater: the daemon may be of another version.
type view struct {
	Repeater string       `json:"repeater"`
	Hash     string       `json:"config_hash"`
	Config   configView   `json:"config"`
	Started  time.Time    `json:"started"`
	Clock    clockView    `json:"clock"`
	Spool    *spoolView   `json:"spool"`
	Routes   []routeView  `json:"routes"`
	Bridges  []bridgeView `json:"bridges"`
}

type clockView struct {
	Suspect  bool      `json:"suspect"`
	Since    time.Time `json:"since"`
	Expected time.Time `json:"expected"`
}

type spoolView struct {
	Dir      string       `json:"dir"`
	State    string       `json:"state"`
	Error    string       `json:"error"`
	Bytes    int64        `json:"bytes"`
	Limit    int64        `json:"limit_bytes"`
	DiskFree int64        `json:"disk_free_bytes"`
	Segments int          `json:"segments"`
	Damaged  int          `json:"damaged_segments"`
	Messages int64        `json:"messages"`
	Orphans  []orphanView `json:"orphans"`
}

type orphanView struct {
	Name     string `json:"name"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"`
}

type routeView struct {
	Name   string     `json:"name"`
	State  string     `json:"state"`
	Source endView    `json:"source"`
	Lanes  []laneView `json:"lanes"`
}

type endView struct {
	Address string    `json:"address"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Error   string    `json:"last_error"`
}

type laneView struct {
	Name      string     `json:"name"`
	State     string     `json:"state"`
	Since     time.Time  `json:"since"`
	Link      endView    `json:"link"`
	Waiting   int64      `json:"waiting_messages"`
	InFlight  int64      `json:"in_flight_messages"`
	Spooled   int64      `json:"spooled_messages"`
	Bytes     int64      `json:"spooled_bytes"`
	Limit     int64      `json:"limit_bytes"`
	Oldest    *time.Time `json:"oldest_message_at"`
	Held      int64      `json:"held_messages"`
	LastError string     `json:"last_error"`
	Share     *shareView `json:"share"`
}
