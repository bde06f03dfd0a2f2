package main

import "math"

// Problem is what training minimises: over the last Window moments of a run,
//
//	L = mean(1 − r²) + Cost · mean(K²)
//
// The second term makes coupling dear, so that the network is pulled together
// where that does most. r² is taken rather than r, which has no gradient at 0.
type Problem struct {
	Net           *Network
	Ticks, Window int
	Cost          float64
}

// Loss returns L for runs from each of the initial phases, averaged, and the
// order at the end of the last one.
func (p *Problem) Loss(coupling []float64, initial [][]float64) (float64, Moment) {
	loss := 0.0
	var last Moment
	for _, start := range initial {
		path := p.Net.Simulate(coupling, start, p.Ticks)
		loss += p.disorder(path) / float64(len(initial))
		last = p.Net.Order(path[p.Ticks])
	}
	return loss + p.price(coupling), last
}

func (p *Problem) disorder(path [][]float64) float64 {
	sum := 0.0
	for _, theta := range path[p.Ticks-p.Window+1:] {
		x, y := mean(theta)
		sum += 1 - x*x - y*y
	}
	return sum / float64(p.Window)
}

func (p *Problem) price(coupling []float64) float64 {
	sum := 0.0
	for _, k := range coupling {
		sum += k * k
	}
	return p.Cost * sum / float64(len(coupling))
}

// mean returns 1/N Σ exp(iθ).
func mean(theta []float64) (x, y float64) {
	for _, th := range theta {
		s, c := math.Sincos(th)
		x += c
		y += s
	}
	n := float64(len(theta))
	return x / n, y / n
}

// Gradient returns L, its gradient by every coupling, and the order at the end
// of the last run. It is the exact gradient of the discrete scheme, by the
// adjoint: one run forward, one backward, whatever the number of couplings.
func (p *Problem) Gradient(coupling []float64, initial [][]float64) (loss float64, gradient []float64, last Moment) {
	gradient = make([]float64, len(coupling))
	for _, start := range initial {
		path := p.Net.Simulate(coupling, start, p.Ticks)
		loss += p.disorder(path) / float64(len(initial))
		last = p.Net.Order(path[p.Ticks])
		p.backward(coupling, path, gradient, 1/float64(len(initial)))
	}
	for e, k := range coupling {
		gradient[e] += 2 * p.Cost * k / float64(len(coupling))
	}
	return loss + p.price(coupling), gradient, last
}

// backward adds weight times the gradient of one run's disorder. With
// a(t) = ∂L/∂θ(t),
//
//	a(t)   = ∂L/∂θ(t) directly + a(t+1) + dt·Jᵀ(t)·a(t+1)
//	∂L/∂Kₑ = dt · Σₜ a_to(t+1) · sin(θ_from(t) − θ_to(t))
func (p *Problem) backward(coupling []float64, path [][]float64, gradient []float64, weight float64) {
	n := len(path[0])
	adjoint, before := make([]float64, n), make([]float64, n)
	sin, cos := make([]float64, n), make([]float64, n)
	p.direct(path[p.Ticks], adjoint, weight)
	for t := p.Ticks - 1; t >= 0; t-- {
		for i, th := range path[t] {
			sin[i], cos[i] = math.Sincos(th)
		}
		copy(before, adjoint)
		for e, edge := range p.Net.Edges {
			j, i := edge.From, edge.To
			gradient[e] += dt * adjoint[i] * (sin[j]*cos[i] - cos[j]*sin[i])
			turn := dt * coupling[e] * (cos[j]*cos[i] + sin[j]*sin[i]) * adjoint[i]
			before[j] += turn
			before[i] -= turn
		}
		if t > p.Ticks-p.Window {
			p.direct(path[t], before, weight)
		}
		adjoint, before = before, adjoint
	}
}

// direct adds the derivative of one moment's part of the disorder by its phases.
func (p *Problem) direct(theta, to []float64, weight float64) {
	x, y := mean(theta)
	scale := -2 * weight / (float64(len(theta)) * float64(p.Window))
	for i, th := range theta {
		s, c := math.Sincos(th)
		to[i] += scale * (y*c - x*s)
	}
}
