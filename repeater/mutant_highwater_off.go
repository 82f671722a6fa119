//go:build !mutant_highwater

package repeater

const mutantHighWater = false
