//go:build mutant_highwater

package repeater

const mutantHighWater = true // a planted bug that the tests must find
