package nats

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/posthouse/posthouse/adapters"
)

// endsOnTrunk is how many ends share one connection at most: what is on its way to all of them shares one stream of bytes.
const endsOnTrunk = 1024

// A trunkKey is what ends must have in common to share a connection. Sources and targets have one each, so that a server
// that slows its publishers down does not hold up settles.
type trunkKey struct {
	share     *adapters.Share
	broker    string
	address   string
	host      *host
	login     adapters.Credentials
	tls       adapters.TLS
	heartbeat int64
	form      adapters.Form
}

func keyOf(c adapters.Config, a adapters.Address, address string, h *host) trunkKey {
	k := trunkKey{share: c.Share, broker: c.Name, address: address, host: h, login: c.Credentials, tls: c.TLS,
		heartbeat: int64(c.Heartbeat), form: a.Form}
	if a.Form == "" { // a sign of life: only a connection of its own is one
		k.share = nil
	}
	return k
}

// claimOf names what an end alone may use on its connection. The server's refusals name a subject and no message, so two
// ends that publish to the same one could not tell whose message was refused.
func claimOf(c adapters.Config, a adapters.Address) string {
	if a.Form == adapters.Stream {
		return "consumer " + a.Name + " " + consumerName(c, a)
	}
	return "subject " + a.Name
}

// A pool has the connections that may be shared.
type pool struct {
	mu     sync.Mutex
	trunks map[trunkKey][]*trunk
}

// join returns a connection for the end, shared where that is possible, or else what open made. Ends that come while it is
// being opened wait for it.
func (p *pool) join(ctx context.Context, key trunkKey, claim string, open func(*trunk) error) (*trunk, error) {
	for {
		tr, made := p.enter(key, claim)
		if made {
			tr.err = open(tr)
			tr.abandoned = ctx.Err() != nil
			close(tr.ready)
		}
		select {
		case <-tr.ready:
		case <-ctx.Done():
			p.leave(tr, claim)
			return nil, fmt.Errorf("given up: %w", context.Cause(ctx))
		}
		if tr.err == nil {
			return tr, nil
		}
		p.retire(tr)
		p.leave(tr, claim)
		if !tr.abandoned || ctx.Err() != nil { // else the one who opened it was told to stop: that says nothing about the server
			return nil, tr.err
		}
	}
}

// enter finds a connection with room for the claim, or makes one that still has to be opened.
func (p *pool) enter(key trunkKey, claim string) (tr *trunk, made bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if key.share != nil {
		for _, tr := range p.trunks[key] {
			if !tr.claims[claim] && len(tr.claims) < endsOnTrunk && tr.gone.Err() == nil {
				tr.claims[claim] = true
				return tr, false
			}
		}
	}
	tr = newTrunk(p, key)
	tr.claims[claim] = true
	if key.share != nil {
		p.trunks[key] = append(p.trunks[key], tr)
	}
	return tr, true
}

// retire keeps new ends away from a connection. Those that use it go on.
func (p *pool) retire(tr *trunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(tr)
}

func (p *pool) drop(tr *trunk) {
	left := slices.DeleteFunc(p.trunks[tr.key], func(o *trunk) bool { return o == tr })
	if p.trunks[tr.key] = left; len(left) == 0 {
		delete(p.trunks, tr.key)
	}
}

// leave takes an end off its connection. The last one closes it.
func (p *pool) leave(tr *trunk, claim string) {
	p.mu.Lock()
	delete(tr.claims, claim)
	last := len(tr.claims) == 0
	if last {
		p.drop(tr)
	}
	p.mu.Unlock()
	if last {
		tr.shut()
	}
}
