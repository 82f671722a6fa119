package demo

import (
	"bytes"
	"testing"
)

func TestBodyCarriesNumberAndChecksum(t *testing.T) {
	for _, n := range []uint64{0, 1, 255, 1 << 40} {
		b := body(n, 100)
		if got, whole := number(b); got != n || !whole {
			t.Errorf("number(body(%d)) = %d, %v", n, got, whole)
		}
		for i := range b {
			c := bytes.Clone(b)
			c[i] ^= 1
			if _, whole := number(c); whole {
				t.Fatalf("a flipped bit in byte %d of message %d was not seen", i, n)
			}
		}
	}
	if _, whole := number([]byte("short")); whole {
		t.Error("a short body counts as whole")
	}
}
