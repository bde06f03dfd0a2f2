package wasm

import (
	"context"
	"sync"
)

// pool keeps the instances of a mapper or translator: at most its capacity at
// a time, closed explicitly.
type pool struct {
	p     *Plugin
	slots chan struct{} // one for each instance that is in use
	mu    sync.Mutex
	idle  []*instance // guarded by mu
}

func newPool(p *Plugin, capacity int) *pool {
	return &pool{p: p, slots: make(chan struct{}, capacity)}
}

// take returns an instance for one call, a new one when fresh is asked for or
// none is idle. It waits while all are in use.
func (l *pool) take(ctx context.Context, fresh bool) (*instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, interrupted(l.p.cfg.Name, context.Cause(ctx))
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, interrupted(l.p.cfg.Name, context.Cause(ctx))
	case <-l.p.life.Done(): // drain keeps the slots
		return nil, interrupted(l.p.cfg.Name, errClosed)
	}
	if l.p.life.Err() != nil {
		<-l.slots
		return nil, interrupted(l.p.cfg.Name, errClosed)
	}
	// An idle one makes room for a fresh one: what is idle and what is in use
	// together stay within the capacity.
	if in := l.pop(); in != nil {
		if !fresh {
			return in, nil
		}
		in.close()
	}
	in, err := l.p.instantiate(ctx)
	if err != nil {
		<-l.slots
		return nil, err
	}
	return in, nil
}

func (l *pool) pop() *instance {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	in := l.idle[n-1]
	l.idle = l.idle[:n-1]
	return in
}

// put gives an instance back.
func (l *pool) put(in *instance) {
	if in.worn() {
		in.close()
	} else {
		l.mu.Lock()
		l.idle = append(l.idle, in)
		l.mu.Unlock()
	}
	<-l.slots
}

// drain waits until nothing is in use, and closes what is idle. No instance is
// handed out afterwards.
func (l *pool) drain() {
	for range cap(l.slots) {
		l.slots <- struct{}{}
	}
	for in := l.pop(); in != nil; in = l.pop() {
		in.close()
	}
}
