//go:build mutant_unlinkfirst

package spool

const mutantUnlinkFirst = true // a planted bug that the tests must find
