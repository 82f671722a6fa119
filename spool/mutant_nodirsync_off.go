//go:build !mutant_nodirsync

package spool

const mutantNoDirSync = false
