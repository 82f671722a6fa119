package bridge

import (
	"fmt"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// ownBudget bounds Posthouse's own headers of one message, in bytes of names and values.
const ownBudget = 32 << 10

// budget keeps the header block within what the target takes: droppable headers go first, each with a note; if that is
// not enough nothing of this message can be sent.
func (f *fitter) budget() error {
	limit := ownBudget
	if f.h.MaxBytes > 0 {
		limit = min(limit, f.h.MaxBytes-blockSize(f.c.Props[:f.native]))
	}
	size := blockSize(f.c.Props[f.native:])
	if size <= limit {
		return nil
	}
	if !f.o.NoShed {
		for _, prefix := range [...]string{hFT, hMA, hProps} {
			if size = f.shed(prefix); size <= limit {
				return nil
			}
		}
	}
	return permanent(fmt.Errorf("own headers need %d bytes, the target has room for %d", size, max(limit, 0)))
}

// shed drops the own headers whose name begins with prefix and returns the size of the rest.
func (f *fitter) shed(prefix string) int {
	kept := f.c.Props[:f.native]
	for _, p := range f.c.Props[f.native:] {
		if strings.HasPrefix(unspell(p.Name), prefix) {
			f.note(field(unspell(p.Name)), Shed)
		} else {
			kept = append(kept, p)
		}
	}
	f.c.Props = kept
	return blockSize(kept[f.native:])
}

// blockSize is the size of names and values, numbers as an estimate.
func blockSize(ps []adapters.Prop) int {
	n := 0
	for i := range ps {
		n += len(ps[i].Name) + len(ps[i].V.Str())
		if ps[i].V.Str() == "" {
			n += 8
		}
	}
	return n
}
