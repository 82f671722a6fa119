package spooltest

import (
	"math/bits"
	"slices"
)

// A sector never changes once it is in a file, so files, what of them is durable, and images share it. nil is all zero.
type sector = *[Sector]byte

var zeroSector [Sector]byte

// content is what a file holds.
type content struct {
	size    int
	sectors []sector
}

// read copies bytes from off on into p and returns how many there are.
func (c *content) read(p []byte, off int64) int {
	if off >= int64(c.size) {
		return 0
	}
	p = p[:min(len(p), c.size-int(off))]
	for n := 0; n < len(p); {
		i, skip := (int(off)+n)/Sector, (int(off)+n)%Sector
		part := p[n:min(len(p), n+Sector-skip)]
		if s := c.sectors[i]; s != nil {
			copy(part, s[skip:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	return len(p)
}

// take copies sector i of src, which makes the content longer as needed.
func (c *content) take(src *content, i int) {
	c.grow(min((i+1)*Sector, src.size))
	c.sectors[i] = src.sectors[i]
}

func (c *content) grow(size int) {
	if size <= c.size {
		return
	}
	c.size = size
	for n := (size + Sector - 1) / Sector; len(c.sectors) < n; {
		c.sectors = append(c.sectors, nil)
	}
}

func (c *content) clone() content { return content{c.size, slices.Clone(c.sectors)} }

func (c *content) bytes() []byte {
	b := make([]byte, c.size)
	c.read(b, 0)
	return b
}

func contentOf(b []byte) (c content) {
	c.grow(len(b))
	c.write(b, 0)
	return c
}

// write puts p at off.
func (c *content) write(p []byte, off int) {
	c.grow(off + len(p))
	for n := 0; n < len(p); {
		i, skip := (off+n)/Sector, (off+n)%Sector
		part := p[n:min(len(p), n+Sector-skip)]
		c.sectors[i] = changed(c.sectors[i], part, skip)
		n += len(part)
	}
}

// changed returns s with part at skip.
func changed(s sector, part []byte, skip int) sector {
	if len(part) == Sector && *(sector)(part) == zeroSector {
		return nil
	}
	next := new([Sector]byte)
	if s != nil && len(part) < Sector {
		*next = *s
	}
	copy(next[skip:], part)
	return next
}

// node is a file. What is not in dirty is the same in cur and disk, or lost already by a failed sync.
type node struct {
	cur, disk content
	dirty     []uint64 // a bit for each sector
}

func nodeOf(b []byte) *node {
	c := contentOf(b)
	return &node{cur: c, disk: c.clone()}
}

func (n *node) write(p []byte, off int64) int {
	if len(p) == 0 {
		return 0
	}
	n.cur.write(p, int(off))
	last := (int(off) + len(p) - 1) / Sector
	for len(n.dirty) <= last/64 {
		n.dirty = append(n.dirty, 0)
	}
	for i := int(off) / Sector; i <= last; i++ {
		n.dirty[i/64] |= 1 << (i % 64)
	}
	return len(p)
}

// eachDirty calls f for every sector that was written and not synced, in rising order.
func (n *node) eachDirty(f func(i int)) {
	for w, word := range n.dirty {
		for ; word != 0; word &= word - 1 {
			f(w*64 + bits.TrailingZeros64(word))
		}
	}
}

func (n *node) sync() {
	n.eachDirty(func(i int) { n.disk.take(&n.cur, i) })
	clear(n.dirty)
}

func (n *node) image(kept func() bool) *node {
	c := n.disk.clone()
	n.eachDirty(func(i int) {
		if kept() {
			c.take(&n.cur, i)
		}
	})
	return &node{cur: c, disk: c.clone()}
}
