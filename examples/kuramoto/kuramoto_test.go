package main

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/step"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// The adjoint must be the derivative of what is simulated, not something near it.
func TestGradientMatchesFiniteDifferences(t *testing.T) {
	for seed := range uint64(3) {
		rng := seeded(seed)
		net := NewNetwork(12, rng)
		p := Problem{Net: net, Ticks: 70, Window: 20, Cost: 0.1}
		coupling := make([]float64, len(net.Edges))
		for e := range coupling {
			coupling[e] = rng.NormFloat64()
		}
		starts := [][]float64{net.Phases(rng), net.Phases(rng)}
		loss, gradient, _ := p.Gradient(coupling, starts)
		if again, _ := p.Loss(coupling, starts); math.Abs(loss-again) > 1e-12 {
			t.Errorf("the gradient's loss is %v, the loss is %v", loss, again)
		}
		size := 0.0
		for _, g := range gradient {
			size = max(size, math.Abs(g))
		}
		if size < 1e-4 {
			t.Fatalf("the gradient vanishes (%v): nothing is tested", size)
		}
		const h = 1e-5
		for e := range coupling {
			k := coupling[e]
			coupling[e] = k + h
			up, _ := p.Loss(coupling, starts)
			coupling[e] = k - h
			down, _ := p.Loss(coupling, starts)
			coupling[e] = k
			if want := (up - down) / (2 * h); math.Abs(gradient[e]-want) > 1e-6*size {
				t.Errorf("seed %d, coupling %d: gradient %v, finite difference %v", seed, e, gradient[e], want)
			}
		}
	}
}

// Two oscillators that pull at each other with K lock with the difference
// arcsin(Δω/2K), as theory has it.
func TestTwoOscillatorsLock(t *testing.T) {
	net := &Network{Omega: []float64{0.3, -0.1}, Group: []int{0, 1}, Edges: []Edge{{0, 1}, {1, 0}}}
	path := net.Simulate([]float64{0.5, 0.5}, []float64{2, 0}, 4000)
	got := math.Remainder(path[4000][0]-path[4000][1], 2*math.Pi)
	if want := math.Asin(0.4 / (2 * 0.5)); math.Abs(got-want) > 1e-9 {
		t.Errorf("the difference is %v, want %v", got, want)
	}
	// Uncoupled, each keeps its pace.
	free := net.Simulate([]float64{0, 0}, []float64{2, 0}, 100)
	if got, want := free[100][0]-2, 0.3*100*dt; math.Abs(got-want) > 1e-9 {
		t.Errorf("the free oscillator turned by %v, want %v", got, want)
	}
}

func TestOrder(t *testing.T) {
	net := NewNetwork(30, seeded(1))
	theta := make([]float64, 30)
	check := func(name string, r, phi, group float64) {
		t.Helper()
		m := net.Order(theta)
		if math.Abs(m.R-r) > 1e-9 || math.Abs(m.Phi-phi) > 1e-9 || math.Abs(m.Groups[0]-group) > 1e-9 {
			t.Errorf("%s: %+v, want r %v, phi %v, group %v", name, m, r, phi, group)
		}
	}
	for i := range theta {
		theta[i] = 7.5
	}
	check("one phase", 1, 1, 1)
	for i := range theta {
		theta[i] = 2 * math.Pi * float64(net.Group[i]) / groups
	}
	check("each group a phase of its own", 0, 0, 1)
	for i := range theta {
		theta[i] = math.Pi * float64(i%2)
	}
	check("every group split in two", 0, 0, 0)
	for i := range theta {
		theta[i] = math.Pi / 4 * float64(1-2*(i%2))
	}
	check("a quarter circle", math.Sqrt2/2, 1, math.Sqrt2/2)
}

func TestNetworkHasItsShape(t *testing.T) {
	for _, n := range []int{fewest, 10, 36, 100} {
		net := NewNetwork(n, seeded(uint64(n)))
		within, between := 0, 0
		for _, e := range net.Edges {
			switch {
			case e.From == e.To || e.From < 0 || e.From >= n || e.To < 0 || e.To >= n:
				t.Errorf("n %d: edge %+v", n, e)
			case net.Group[e.From] == net.Group[e.To]:
				within++
			default:
				between++
			}
		}
		if between != outside*n || within < 2*n || within > inside*n {
			t.Errorf("n %d: %d edges within groups, %d between", n, within, between)
		}
	}
}

func TestTrainingSynchronises(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		tr := NewTrainer(24, seed)
		before, _ := tr.Evaluate()
		first, last := 0.0, 0.0
		const steps = 80
		for i := range steps {
			p := tr.Step()
			if i < 10 {
				first += p.Loss / 10
			}
			if i >= steps-10 {
				last += p.Loss / 10
			}
		}
		after, _ := tr.Evaluate()
		if after < before+0.2 || last > first-0.2 {
			t.Errorf("seed %d: reward %.3f to %.3f, loss %.3f to %.3f: nothing was learnt", seed, before, after, first, last)
		}
	}
}

func TestEqualSeedsTrainEqually(t *testing.T) {
	digest := func(seed uint64) string {
		tr := NewTrainer(12, seed)
		for range 5 {
			tr.Step()
		}
		return tr.Digest()
	}
	if a, b := digest(7), digest(7); a != b {
		t.Errorf("one seed gave %s and %s", a, b)
	}
	if digest(7) == digest(8) {
		t.Error("two seeds trained the same")
	}
}

// The steps that go through a real home are legal, complete and true.
func TestWhatIsRecorded(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CARL_HOME", dir)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var seen []step.Step
	h, err := openHost("", func(s step.Step) error { seen = append(seen, s.Clone()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	o := options{steps: 30, oscillators: 12, seed: 5}
	var out bytes.Buffer
	if err := train(o, h.Record, &out); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	ids := map[string]bool{}
	again := NewTrainer(o.oscillators, o.seed)
	for i, s := range seen {
		counts[s.Action]++
		if err := s.Validate(); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
		if s.ID == "" || ids[s.ID] || s.Time.IsZero() || s.KuramotoR == nil || s.Phi == nil || s.ChannelCoherence == nil || s.Session != "kuramoto-12-5" {
			t.Fatalf("step %d is not complete: %+v", i, s)
		}
		ids[s.ID] = true
		if i > 0 && s.Parent != seen[0].ID {
			t.Errorf("step %d hangs from %q, want %q", i, s.Parent, seen[0].ID)
		}
		var members map[string]any
		if s.Output != nil {
			if err := json.Unmarshal(s.Output, &members); err != nil {
				t.Fatal(err)
			}
		}
		// A second training with the same seed says what is true.
		var want Moment
		switch s.Action {
		case step.TrainingStep:
			p := again.Step()
			want = p.Moment
			if members["loss"] != p.Loss || s.DurationMS == nil {
				t.Errorf("step %d: loss %v, want %v", i, members["loss"], p.Loss)
			}
		case step.Checkpoint:
			_, want = again.Evaluate()
			if members["sha256"] != again.Digest() {
				t.Errorf("step %d: digest %v, want %v", i, members["sha256"], again.Digest())
			}
		default:
			_, want = again.Evaluate()
		}
		if *s.KuramotoR != want.R || *s.Phi != want.Phi {
			t.Errorf("step %d: r %v, phi %v; want %v, %v", i, *s.KuramotoR, *s.Phi, want.R, want.Phi)
		}
		var channels map[string]float64
		if err := json.Unmarshal(s.ChannelCoherence, &channels); err != nil || len(channels) != groups || channels["group_1"] != want.Groups[0] {
			t.Errorf("step %d: channels %v, want %v", i, channels, want.Groups)
		}
	}
	for action, want := range map[string]int{step.External: 2, step.TrainingStep: 30, step.Reward: 3, step.Checkpoint: 2} {
		if counts[action] != want {
			t.Errorf("%d %s steps, want %d", counts[action], action, want)
		}
	}
	if !strings.Contains(out.String(), "handed 37 steps to carl") {
		t.Errorf("the output does not say what was recorded:\n%s", out.String())
	}
}

func TestStepsAreWrittenToAFile(t *testing.T) {
	dir := t.TempDir()
	o := options{home: filepath.Join(dir, "home"), stepsOut: filepath.Join(dir, "steps.jsonl"), steps: 3, oscillators: 12, seed: 5}
	if err := run(o, io.Discard); err != nil {
		t.Fatal(err)
	}
	text, err := os.Open(o.stepsOut)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	d, n := step.NewDecoder(text), 0
	for {
		_, err := d.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if want := 2 + 3 + 1 + 1; n != want {
		t.Errorf("the file holds %d steps, want %d", n, want)
	}
	// What could not be written is not a success.
	if _, err := os.Stat("/dev/full"); err == nil {
		o.stepsOut = "/dev/full"
		if run(o, io.Discard) == nil {
			t.Error("a full disk goes unnoticed")
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	good := options{steps: 1, oscillators: fewest}
	if err := good.check(nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []options{{steps: 0, oscillators: 36}, {steps: 1, oscillators: 2}, {steps: 1, oscillators: most + 1}, {steps: longest + 1, oscillators: 36}} {
		if bad.check(nil) == nil {
			t.Errorf("%+v passes", bad)
		}
	}
	if good.check([]string{"x"}) == nil {
		t.Error("an argument passes")
	}
}
