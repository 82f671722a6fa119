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

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
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
	return converse(ctx, askTimeout, http.MethodGet, addr, path, nil, v)
}

// order tells the daemon to do something that may wait for routes to end.
func order(ctx context.Context, addr, path string, say, v any) error {
	return converse(ctx, reloadTimeout, http.MethodPost, addr, path, say, v)
}

// converse makes one request, whose body is say as JSON unless that is nil, and decodes the answer into v.
func converse(ctx context.Context, limit time.Duration, method, addr, path string, say, v any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
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

// daemonFlags are those of a command that talks to the running daemon and nobody else.
type daemonFlags struct {
	file, admin, repeater *string
	output                string
}

func (f *daemonFlags) register(c *cobra.Command, outputs ...string) {
	f.file, f.admin, f.repeater = configFlag(c), adminFlag(c), repeaterFlag(c, "whose daemon to ask, in a file for several")
	wordFlag(c, &f.output, "output", "o", "what to print", outputs...)
}

// answers prints what do has found out at the daemon's address.
func (f *daemonFlags) answers(c *cobra.Command, do func(ctx context.Context, addr string) (reply, error)) error {
	var r reply
	addr, err := lookAt(*f.file, *f.admin, *f.repeater, c.ErrOrStderr())
	if err == nil {
		r, err = do(c.Context(), addr)
	}
	return finish(c, f.output, r, err)
}

// passed is the reply with a document of the daemon, which is passed on to programs as it came: it may be of another version.
func passed[T any](ctx context.Context, addr, path string, summary func(*T) string, text func(*T) string) (reply, error) {
	var raw json.RawMessage
	if err := ask(ctx, addr, path, &raw); err != nil {
		return reply{}, err
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return reply{}, advise(exitEnvironment, codeNoDaemon, "what answers at "+addr+" is no posthouse", "say where the daemon listens: --admin HOST:PORT", err)
	}
	return reply{summary: summary(v), result: raw, text: func(w io.Writer) error { _, err := io.WriteString(w, text(v)); return err }}, nil
}

// steerFlags are those of a command that tells routes, lanes or brokers what to do.
type steerFlags struct {
	daemonFlags
	reason string
	dry    bool
}

func (f *steerFlags) register(c *cobra.Command) {
	f.daemonFlags.register(c, "text", "json")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the log and the status")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "only say what would be done")
}

// tell sends the order to path.
func (f *steerFlags) tell(ctx context.Context, addr, path string, v any) error {
	return order(ctx, addr, path+dryQuery(f.dry), admin.Steering{Reason: f.reason}, v)
}

func dryQuery(dry bool) string {
	if dry {
		return "?dry_run=1"
	}
	return ""
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
	Name   string             `json:"name"`
	State  string             `json:"state"`
	Source endView            `json:"source"`
	Told   *repeater.Standing `json:"told"`
	Lanes  []laneView         `json:"lanes"`
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

	Told *repeater.Standing `json:"told"`
}
