//go:build mutant_fsyncretry

package spool

const mutantSyncRetry = true // a planted bug that the tests must find
