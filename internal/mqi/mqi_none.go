//go:build !cgo || !ibmmq

package mqi

import "errors"

// Built reports whether this binary can use IBM's client library.
const Built = false

var errNotBuilt = errors.New("this binary was built without ibmmq: build it with make build")

// SetLibrary is an error: there is nothing to load a library for.
func SetLibrary(string) error { return errNotBuilt }

// Load is an error: there is nothing to load a library for.
func Load() error { return errNotBuilt }

// Last is the zero Status.
func Last() Status { return Status{} }
