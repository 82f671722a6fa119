//go:build mutant_ackfirst

package repeater

const mutantAckFirst = true // a planted bug that the tests must find
