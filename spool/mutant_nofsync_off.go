//go:build !mutant_nofsync

package spool

const mutantNoSync = false
