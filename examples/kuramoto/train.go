package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
)

// Adam is the optimiser of D. P. Kingma and J. Ba, "Adam: a method for
// stochastic optimization" (2015), with the constants of the paper.
type Adam struct {
	Rate   float64
	m, v   []float64
	b1, b2 float64 // the products of the decay rates so far
}

// Step moves the parameters against the gradient.
func (a *Adam) Step(parameters, gradient []float64) {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	if a.m == nil {
		a.m, a.v = make([]float64, len(parameters)), make([]float64, len(parameters))
		a.b1, a.b2 = 1, 1
	}
	a.b1 *= beta1
	a.b2 *= beta2
	for i, g := range gradient {
		a.m[i] = beta1*a.m[i] + (1-beta1)*g
		a.v[i] = beta2*a.v[i] + (1-beta2)*g*g
		parameters[i] -= a.Rate * (a.m[i] / (1 - a.b1)) / (math.Sqrt(a.v[i]/(1-a.b2)) + epsilon)
	}
}

// Trainer trains the couplings of one network. Equal seeds train equally, bit
// for bit, on one machine architecture.
type Trainer struct {
	problem  Problem
	Coupling []float64
	adam     Adam
	rng      *rand.Rand
	heldOut  [][]float64
	taken    int
}

// What training does by default.
const (
	ticks, window = 240, 80
	cost          = 0.02
	rate          = 0.02
	// batch is how many starts one gradient is averaged over, tests how many
	// starts never trained on tell what was learnt.
	batch, tests = 4, 8
	// firstCoupling is too weak for the whole to lock.
	firstCoupling = 0.05
)

// NewTrainer draws a network of n oscillators and sets its couplings to a weak start.
func NewTrainer(n int, seed uint64) *Trainer {
	rng := rand.New(rand.NewPCG(seed, 0x6b7572616d6f746f))
	net := NewNetwork(n, rng)
	t := &Trainer{
		problem:  Problem{Net: net, Ticks: ticks, Window: window, Cost: cost},
		Coupling: make([]float64, len(net.Edges)),
		adam:     Adam{Rate: rate},
		rng:      rng,
	}
	for e := range t.Coupling {
		t.Coupling[e] = firstCoupling
	}
	t.heldOut = t.starts(tests)
	return t
}

func (t *Trainer) starts(n int) [][]float64 {
	out := make([][]float64, n)
	for i := range out {
		out[i] = t.problem.Net.Phases(t.rng)
	}
	return out
}

// Progress is what one training step did.
type Progress struct {
	Step           int     // counted from 1
	Loss, GradNorm float64 // before the step was taken
	Mean           float64 // the mean coupling after it
	Moment         Moment  // at the end of the last simulated run
}

// Step takes one gradient step, on starts drawn afresh.
func (t *Trainer) Step() Progress {
	loss, gradient, moment := t.problem.Gradient(t.Coupling, t.starts(batch))
	t.adam.Step(t.Coupling, gradient)
	t.taken++
	norm, sum := 0.0, 0.0
	for e, g := range gradient {
		norm += g * g
		sum += t.Coupling[e]
	}
	return Progress{Step: t.taken, Loss: loss, GradNorm: math.Sqrt(norm), Mean: sum / float64(len(gradient)), Moment: moment}
}

// Evaluate runs the starts that were never trained on. The reward is the mean
// of r over the window and over them; the moment is the end of the last run.
func (t *Trainer) Evaluate() (reward float64, last Moment) {
	p := &t.problem
	for _, start := range t.heldOut {
		path := p.Net.Simulate(t.Coupling, start, p.Ticks)
		for _, theta := range path[p.Ticks-p.Window+1:] {
			reward += p.Net.Order(theta).R / float64(p.Window*len(t.heldOut))
		}
		last = p.Net.Order(path[p.Ticks])
	}
	return reward, last
}

// Digest is the SHA-256 of the couplings, in the order of the edges, each as a
// little-endian 64-bit float.
func (t *Trainer) Digest() string {
	h := sha256.New()
	var b [8]byte
	for _, k := range t.Coupling {
		binary.LittleEndian.PutUint64(b[:], math.Float64bits(k))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
