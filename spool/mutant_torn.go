//go:build mutant_torn

package spool

const mutantTorn = true // a planted bug that the tests must find
