//go:build cgo && ibmmq

package mqi

/*
#cgo CFLAGS: -I${SRCDIR}/include
#cgo LDFLAGS: -L${SRCDIR}/lib -ldl -lpthread
#include <stdlib.h>
#include "tramp.h"
*/
import "C"

import (
	"fmt"
	"path/filepath"
	"unsafe"
)

// Built reports whether this binary can use IBM's client library.
const Built = true

// SetLibrary names the client library to load, an absolute path, in place of POSTHOUSE_MQ_LIB and the usual places; an
// empty path means the usual places. It loads nothing. A process loads one library only: once another one is loaded,
// SetLibrary is an error and changes nothing. The library's code runs in this process, so the path must come from the
// operator's configuration.
func SetLibrary(path string) error {
	if path != "" && !filepath.IsAbs(path) {
		return fmt.Errorf("IBM MQ client library %q: not an absolute path", path)
	}
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	if C.mqi_set_library(c) != 0 {
		return fmt.Errorf("IBM MQ client library %s: this process has loaded %s already", path, Last().Path)
	}
	return nil
}

// Load loads the client library if it is not loaded yet. MQCONNX does the same by itself; Load is for whoever wants to
// know beforehand. The error is a *LoadError.
func Load() error {
	var c C.mqi_status
	C.mqi_load(&c)
	return status(&c).Err()
}

// Last says how the last attempt to load the client library went, without another one.
func Last() Status {
	var c C.mqi_status
	C.mqi_last(&c)
	return status(&c)
}

func status(c *C.mqi_status) Status {
	return Status{Path: C.GoString(&c.path[0]), Tried: C.GoString(&c.tried[0]), Reason: int32(c.reason)}
}
