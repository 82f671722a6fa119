//go:build !mutant_ackfirst

package repeater

const mutantAckFirst = false
