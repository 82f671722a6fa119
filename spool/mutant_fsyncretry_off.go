//go:build !mutant_fsyncretry

package spool

const mutantSyncRetry = false
