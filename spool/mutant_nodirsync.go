//go:build mutant_nodirsync

package spool

const mutantNoDirSync = true // a planted bug that the tests must find
