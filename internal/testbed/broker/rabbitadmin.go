package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// RabbitAdmin manages the queues of a RabbitMQ by its management interface, virtual host "/". Its
// methods may run concurrently.
type RabbitAdmin struct {
	base *url.URL
}

// NewRabbitAdmin returns an admin for the address in EnvRabbitMQ4Admin or EnvRabbitMQ3Admin:
// http://user:password@host:port.
func NewRabbitAdmin(address string) (*RabbitAdmin, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("read the management address: %w", err)
	}
	if base.Scheme != "http" || base.Host == "" || base.User == nil {
		return nil, fmt.Errorf("read the management address: want http://user:password@host:port, got %q", base.Redacted())
	}
	return &RabbitAdmin{base}, nil
}

// DeclareQueue makes a durable queue that the default exchange feeds under its name. kind is
// "classic" or "quorum". args are RabbitMQ's own (x-max-length, x-overflow, x-dead-letter-exchange
// and so on) and may be nil. A queue that is there with the same properties is left alone.
//
// RabbitMQ 4.0 forgets that it hosts a quorum queue when it is killed within moments of the
// declaration: the queue is then listed but cannot be attached to. A test that kills the broker
// calls Broker.Restart after declaring, which makes RabbitMQ write it down.
func (a *RabbitAdmin) DeclareQueue(ctx context.Context, name, kind string, args map[string]any) error {
	all := map[string]any{"x-queue-type": kind}
	for k, v := range args {
		all[k] = v
	}
	body := map[string]any{"durable": true, "auto_delete": false, "arguments": all}
	if err := a.call(ctx, http.MethodPut, "/api/queues/%2F/"+url.PathEscape(name), body, nil); err != nil {
		return fmt.Errorf("declare queue %q: %w", name, err)
	}
	return nil
}

// DeleteQueue removes the queue with all its messages; one that is not there is no error.
func (a *RabbitAdmin) DeleteQueue(ctx context.Context, name string) error {
	err := a.call(ctx, http.MethodDelete, "/api/queues/%2F/"+url.PathEscape(name), nil, nil)
	if err != nil && !strings.Contains(err.Error(), "404") {
		return fmt.Errorf("delete queue %q: %w", name, err)
	}
	return nil
}

// Count returns how many messages are in the queue: ready to be delivered, and delivered but not
// settled. The figures may be half a second old. An error also says that the broker has
// none yet.
func (a *RabbitAdmin) Count(ctx context.Context, name string) (ready, unsettled int, err error) {
	var q struct {
		Ready   *int `json:"messages_ready"`
		Unacked *int `json:"messages_unacknowledged"`
	}
	if err := a.call(ctx, http.MethodGet, "/api/queues/%2F/"+url.PathEscape(name), nil, &q); err != nil {
		return 0, 0, fmt.Errorf("count the messages of queue %q: %w", name, err)
	}
	if q.Ready == nil || q.Unacked == nil {
		return 0, 0, fmt.Errorf("count the messages of queue %q: the broker has no figures yet", name)
	}
	return *q.Ready, *q.Unacked, nil
}

// CloseConnections makes the broker close all client connections, as an operator does, and returns
// how many there were.
func (a *RabbitAdmin) CloseConnections(ctx context.Context) (int, error) {
	var conns []struct {
		Name string `json:"name"`
	}
	if err := a.call(ctx, http.MethodGet, "/api/connections", nil, &conns); err != nil {
		return 0, fmt.Errorf("list the connections: %w", err)
	}
	for _, c := range conns {
		if err := a.call(ctx, http.MethodDelete, "/api/connections/"+url.PathEscape(c.Name), nil, nil); err != nil {
			return 0, fmt.Errorf("close connection %q: %w", c.Name, err)
		}
	}
	return len(conns), nil
}

// makeTestUser makes User, who may use every queue but the denied ones.
func (a *RabbitAdmin) makeTestUser(ctx context.Context) error {
	user := map[string]any{"password": Password, "tags": ""}
	if err := a.call(ctx, http.MethodPut, "/api/users/"+User, user, nil); err != nil {
		return fmt.Errorf("make the user of the tests: %w", err)
	}
	return a.permitTestUser(ctx)
}

func (a *RabbitAdmin) permitTestUser(ctx context.Context) error {
	most := "^(?!" + regexp.QuoteMeta(DeniedPrefix) + ").*"
	rights := map[string]any{"configure": most, "write": most, "read": most}
	if err := a.call(ctx, http.MethodPut, "/api/permissions/%2F/"+User, rights, nil); err != nil {
		return fmt.Errorf("give the user of the tests its rights: %w", err)
	}
	return nil
}

// call does one request; path is escaped already. Answers of 300 and above are errors that carry
// RabbitMQ's reason.
func (a *RabbitAdmin) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.base.Host+path, body)
	if err != nil {
		return err
	}
	password, _ := a.base.User.Password()
	req.SetBasicAuth(a.base.User.Username(), password)
	req.Close = true // no idle connection, and no goroutine of one, stays behind
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(raw))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}
