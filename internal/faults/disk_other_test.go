//go:build !linux

package faults

import "testing"

// mountSmall cannot do it here.
func mountSmall(*testing.T, string, int) bool { return false }
