// Mqstandd runs the stand-in's queue manager in a process of its own, which a test can kill.
//
//	mqstandd -config qm1.json -control 127.0.0.1:0
//
// The file is qmgr.Options as JSON. When clients may connect it prints one line of JSON with "connname", the address for
// them, and "control", the address of qmgr.Control. It ends when its standard input does, so that it does not outlive
// whoever started it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

func main() {
	config := flag.String("config", "", "file with the queue manager's options, JSON")
	control := flag.String("control", "127.0.0.1:0", "address of the control port")
	flag.Parse()
	if err := run(*config, *control); err != nil {
		fmt.Fprintln(os.Stderr, "mqstandd:", err)
		os.Exit(1)
	}
}

func run(config, control string) error {
	o, err := options(config)
	if err != nil {
		return err
	}
	m, err := qmgr.Open(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", control)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	server := &http.Server{Handler: m.Control()}
	go func() { _ = server.Serve(l) }()
	ready := map[string]string{"connname": m.ConnName(), "control": l.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, server.Close(), m.Close())
}

func options(path string) (o qmgr.Options, err error) {
	if path == "" {
		return o, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return o, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}
