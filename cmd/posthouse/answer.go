package main

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// An answer is what a command prints with -o json: exactly one object on stdout, whatever happened.
type answer struct {
	Command string   `json:"command"`
	OK      bool     `json:"ok"`
	Summary string   `json:"summary"`
	Result  any      `json:"result"`
	Error   *problem `json:"error"`
}

// A problem is what went wrong, for programs.
type problem struct {
	Code    string `json:"code,omitempty"` // explain tells more about it
	Message string `json:"message"`
	Help    string `json:"help,omitempty"`
}

// A reply is what a command has found out: one sentence, the data, and how people read it. text may be nil; then the
// summary is all there is to read.
type reply struct {
	summary string
	result  any
	text    func(io.Writer) error
	mark    string // of status -w: equal while nothing changes
}

// An advised error has a code and says what to do.
type advised struct {
	problem
	err error // may be nil
}

func (a *advised) Error() string {
	s := a.Message
	if a.Code != "" {
		s += " [" + a.Code + "]"
	}
	if a.Help != "" {
		s += "\n  = help: " + a.Help
	}
	return s
}

func (a *advised) Unwrap() error { return a.err }

// advise makes an error with exit code.
func advise(exit int, code, message, help string, cause error) error {
	return fail(exit, &advised{problem{code, message, help}, cause})
}

// errFindings is the cause of an exit 1 whose findings are in the reply.
var errFindings = errors.New("there are findings")

// finish prints a reply, the way that output says, and passes the error on. With -o json the error is in the object, and
// on stderr for people all the same.
func finish(c *cobra.Command, output string, r reply, err error) error {
	if output == "json" {
		perr := printJSON(c.OutOrStdout(), newAnswer(c, r, err))
		return told(errors.Join(err, perr))
	}
	if r.summary != "" || r.text != nil {
		if r.text == nil {
			r.text = func(w io.Writer) error { _, err := io.WriteString(w, r.summary+"\n"); return err }
		}
		if perr := r.text(c.OutOrStdout()); perr != nil && err == nil {
			err = fail(exitEnvironment, perr)
		}
	}
	return told(err)
}

// told hides findings from stderr: they have been printed.
func told(err error) error {
	if errors.Is(err, errFindings) {
		return fail(exitRuntime, errShown)
	}
	return err
}

func newAnswer(c *cobra.Command, r reply, err error) answer {
	a := answer{Command: strings.TrimPrefix(c.CommandPath(), "posthouse "), OK: err == nil, Summary: r.summary, Result: r.result}
	if err == nil {
		return a
	}
	a.Error = &problem{Message: err.Error()}
	var with *advised
	if errors.As(err, &with) {
		a.Error = &with.problem
	}
	if a.Summary == "" {
		a.Summary = a.Error.Message
	}
	return a
}
