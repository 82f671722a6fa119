package adaptertest

import (
	"bytes"
	"testing"
)

// writes counts and keeps.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	return w.Buffer.Write(p)
}

func TestDribbleWritesBytes(t *testing.T) {
	p := NewProxy(t)
	for _, c := range []struct {
		mode Mode
		want int
	}{{Pass, 1}, {Dribble, 300}} {
		p.Set(c.mode)
		var w writes
		if err := p.deliver(&pair{}, &w, make([]byte, 300), true); err != nil || w.n != c.want || w.Len() != 300 {
			t.Errorf("mode %d: %d bytes in %d writes (%v), want %d writes", c.mode, w.Len(), w.n, err, c.want)
		}
	}
}
