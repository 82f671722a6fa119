//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Ctrl-C in a terminal reaches the repeater, too; `kill -INT` does not. Neither leaves a process or a file.
func TestDemoIsInterrupted(t *testing.T) {
	for name, group := range map[string]bool{"terminal": true, "process": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var errs strings.Builder
			c := exec.Command(os.Args[0], small...)
			c.Env, c.Stderr = append(os.Environ(), "TMPDIR="+dir), &errs
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := c.StdoutPipe()
			if err == nil {
				err = c.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Process.Kill() })
			text, repeater := interrupt(t, c, bufio.NewScanner(out), group)
			if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != 1 || errs.String() != "posthouse: interrupted\n" {
				t.Errorf("%v, stderr: %s", err, errs.String())
			}
			if !regexp.MustCompile(`interrupted: [\d,]+ sent, [\d,]+ of them arrived everywhere so far\n`).MatchString(text) {
				t.Errorf("no figures in:\n%s", text)
			}
			if err := syscall.Kill(repeater, 0); err != syscall.ESRCH {
				t.Errorf("process %d: %v; want it gone", repeater, err)
			}
			wantEmpty(t, dir)
		})
	}
}

// interrupt sends SIGINT when messages are being spooled, and reads on to the end. It returns what c printed and the
// number of its repeater's process.
func interrupt(t *testing.T, c *exec.Cmd, lines *bufio.Scanner, group bool) (text string, repeater int) {
	t.Helper()
	process, to := regexp.MustCompile(`process (\d+), answers`), c.Process.Pid
	if group {
		to = -to
	}
	for lines.Scan() {
		text += lines.Text() + "\n"
		if m := process.FindStringSubmatch(lines.Text()); m != nil {
			repeater, _ = strconv.Atoi(m[1])
		}
		if strings.Contains(lines.Text(), "is cut for") {
			if err := syscall.Kill(to, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	if repeater == 0 {
		t.Fatalf("no process in:\n%s", text)
	}
	return text, repeater
}
