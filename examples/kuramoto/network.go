package main

import (
	"math"
	"math/rand/v2"
)

// Network is N phase oscillators on a directed graph:
//
//	dθᵢ/dt = ωᵢ + Σⱼ Kᵢⱼ sin(θⱼ − θᵢ)
//
// after Y. Kuramoto (1975), with a coupling of its own for every edge. The
// oscillators form groups: dense inside, sparse between, and each group beats
// at a pace of its own, so that groups find together before the whole does.
type Network struct {
	Omega []float64 // natural frequencies, rad per unit of time
	Group []int     // the group of each oscillator
	Edges []Edge
}

// Edge is a coupling through which From pulls at To.
type Edge struct{ From, To int }

// The shape of the network.
const (
	groups = 3
	// inside is how many neighbours on a ring an oscillator hears in its group,
	// outside how many oscillators elsewhere.
	inside, outside = 4, 2
	// spread is the standard deviation of the frequencies within a group, and
	// apart the distance between the means of neighbouring groups.
	spread, apart = 0.15, 0.35
)

// NewNetwork draws a network of n oscillators.
func NewNetwork(n int, rng *rand.Rand) *Network {
	net := &Network{Omega: make([]float64, n), Group: make([]int, n)}
	var members [groups][]int
	for i := range n {
		g := i * groups / n
		net.Group[i] = g
		net.Omega[i] = apart*float64(g-groups/2) + spread*rng.NormFloat64()
		members[g] = append(members[g], i)
	}
	for i := range n {
		mine := members[net.Group[i]]
		at := i - mine[0]
		for d := 1; d <= inside/2 && 2*d < len(mine); d++ {
			net.Edges = append(net.Edges,
				Edge{mine[(at+d)%len(mine)], i},
				Edge{mine[(at+len(mine)-d)%len(mine)], i})
		}
		for range outside {
			j := rng.IntN(n)
			for net.Group[j] == net.Group[i] {
				j = rng.IntN(n)
			}
			net.Edges = append(net.Edges, Edge{j, i})
		}
	}
	return net
}

// Phases draws initial phases, uniform on the circle.
func (net *Network) Phases(rng *rand.Rand) []float64 {
	theta := make([]float64, len(net.Omega))
	for i := range theta {
		theta[i] = 2 * math.Pi * rng.Float64()
	}
	return theta
}

// dt is the step of the explicit Euler scheme. Couplings and frequencies stay
// below 2, so a step turns no phase by more than a small part of a circle.
const dt = 0.05

// Simulate returns the phases at each of ticks+1 moments. The gradient in
// gradient.go is that of this very scheme.
func (net *Network) Simulate(coupling, initial []float64, ticks int) [][]float64 {
	n := len(initial)
	path := make([][]float64, ticks+1)
	path[0] = initial
	sin, cos := make([]float64, n), make([]float64, n)
	for t := range ticks {
		now, next := path[t], make([]float64, n)
		for i, th := range now {
			sin[i], cos[i] = math.Sincos(th)
			next[i] = th + dt*net.Omega[i]
		}
		for e, edge := range net.Edges {
			// sin(θⱼ − θᵢ), from what is at hand
			pull := sin[edge.From]*cos[edge.To] - cos[edge.From]*sin[edge.To]
			next[edge.To] += dt * coupling[e] * pull
		}
		path[t+1] = next
	}
	return path
}

// Moment is the order of the network at one moment.
type Moment struct {
	// R is Kuramoto's order parameter |1/N Σ exp(iθ)|: 0 for phases all over
	// the circle, 1 for one common phase.
	R float64
	// Groups is the order parameter of each group by itself.
	Groups [groups]float64
	// Phi is how much of the groups' order is left when they are taken
	// together: R over the mean of Groups, weighted by size. It is 1 when the
	// groups agree on a phase and near 0 when each keeps its own. It measures
	// integration in that plain sense; it is not the Φ of integrated
	// information theory.
	Phi float64
}

// Order measures phases.
func (net *Network) Order(theta []float64) Moment {
	var x, y, size [groups]float64
	for i, th := range theta {
		s, c := math.Sincos(th)
		g := net.Group[i]
		x[g] += c
		y[g] += s
		size[g]++
	}
	var m Moment
	n := float64(len(theta))
	var allX, allY, parts float64
	for g := range groups {
		allX += x[g]
		allY += y[g]
		m.Groups[g] = min(1, math.Hypot(x[g], y[g])/size[g])
		parts += math.Hypot(x[g], y[g]) / n
	}
	// Rounding alone can put either above 1, where a step may not be.
	m.R = min(1, math.Hypot(allX, allY)/n)
	// Below, both are rounding noise, and no order is left to integrate.
	const nothing = 1e-9
	if parts > nothing {
		m.Phi = min(1, m.R/parts)
	}
	return m
}
