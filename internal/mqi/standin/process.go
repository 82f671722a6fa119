package standin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

// A Process is a queue manager in a process of its own.
type Process struct {
	Name     string // of the queue manager
	ConnName string // where clients connect: host(port)

	control string
	cmd     *exec.Cmd
	in      io.Closer
}

// Build compiles mqstandd into dir and returns its path. Compiling takes seconds: do it once for all processes.
func Build(dir string) (string, error) {
	path := filepath.Join(dir, "mqstandd")
	out, err := exec.Command("go", "build", "-o", path, "github.com/posthouse/posthouse/internal/mqi/standin/mqstandd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build mqstandd: %w\n%s", err, out)
	}
	return path, nil
}

// Start starts a queue manager by the program that Build returned, and returns when clients may connect. It ends with this
// process. A queue manager that is to come back after Kill needs Dir and Listen in its options.
func Start(program string, o qmgr.Options) (*Process, error) {
	config, err := os.CreateTemp("", "mqstandd-*.json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(config.Name()) }()
	if err := errors.Join(json.NewEncoder(config).Encode(o), config.Close()); err != nil {
		return nil, err
	}
	p := &Process{Name: o.Name, cmd: exec.Command(program, "-config", config.Name())}
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.in = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var ready struct{ ConnName, Control string }
	if err := errors.Join(err, json.Unmarshal(line, &ready)); err != nil {
		return nil, errors.Join(err, p.Kill())
	}
	p.ConnName, p.control = ready.ConnName, ready.Control
	return p, nil
}

// Kill ends the process without a warning (SIGKILL).
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // says that it was killed; closes its input
	return err
}

// Close ends the queue manager in good order.
func (p *Process) Close() error {
	err := p.in.Close()
	return errors.Join(err, p.cmd.Wait())
}

// Do makes one request of qmgr.Control ("POST", "/inject", a Fault, nil) and reads its answer into out, unless that is nil.
func (p *Process) Do(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://"+p.control+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s", method, path, bytes.TrimSpace(raw))
	case out == nil:
		return nil
	}
	return json.Unmarshal(raw, out)
}

// Messages returns what is on a queue, as qmgr.Manager.Messages does.
func (p *Process) Messages(queue string) (available, uncommitted []qmgr.Message, err error) {
	var m struct{ Available, Uncommitted []qmgr.Message }
	err = p.Do(http.MethodGet, "/messages?queue="+queue, nil, &m)
	return m.Available, m.Uncommitted, err
}
