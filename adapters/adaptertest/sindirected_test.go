package adaptertest_test

import (
	"context"

	"github.com/posthouse/posthouse/adapters"
)

// oneWay sends everything to its one address.
type oneWay struct{ adapters.Target }

func (g oneWay) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	return g.Target.Send(ctx, altered(ms, func(m *adapters.Message) { m.Dest = "" }))
}
