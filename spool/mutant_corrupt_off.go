//go:build !mutant_corrupt

package spool

const mutantCorrupt = false
