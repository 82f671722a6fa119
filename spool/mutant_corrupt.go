//go:build mutant_corrupt

package spool

const mutantCorrupt = true // a planted bug that the tests must find
