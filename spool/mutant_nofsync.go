//go:build mutant_nofsync

package spool

const mutantNoSync = true // a planted bug that the tests must find
