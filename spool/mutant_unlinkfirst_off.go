//go:build !mutant_unlinkfirst

package spool

const mutantUnlinkFirst = false
