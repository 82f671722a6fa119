//go:build !mutant_torn

package spool

const mutantTorn = false
