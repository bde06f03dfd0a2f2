package standin

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"carl.camp/carl/host/fault"
)

// The faults that are not a status.
const (
	faultReset = "reset"
	faultSlow  = "slow"
	faultLost  = "lost"
	faultLie   = "lie"
)

// maxFaults bounds a list of faults: every status there is, and the others.
const maxFaults = 256

// Faults are kinds of failure with their probabilities. The zero value has none.
type Faults struct{ list []faultKind }

type faultKind struct {
	name        string
	status      int // 0 when name is not a status
	probability float64
}

// ParseFaults reads a list such as "429:0.1,500:0.05,reset:0.05,slow:0.1":
// names, each with the probability with which a call meets it, together at
// most 1. The names are
//
//   - any status from 400 to 599: answered without doing anything, 429 and 503
//     with Retry-After;
//   - reset: the connection is cut, and nothing was done;
//   - slow: everything is done and answered, late;
//   - lost: everything is done, and then the connection is cut;
//   - lie: everything is done, and then the answer is one that no client
//     should believe: not JSON, cut off, endless, or empty; of signals also
//     with an event missing, doubled or foreign, or with an unknown status,
//     though what it does say about an event is true; of a block also with
//     another sig or none, or with a receipt that was changed, is by another
//     key, or is about another block; of a run or resonant also with an id that
//     is none or another's, a state that is none, or an impossible progress.
//
// The error is a *[fault.Error] with code [fault.Usage].
func ParseFaults(s string) (Faults, error) {
	var f Faults
	if strings.TrimSpace(s) == "" {
		return f, nil
	}
	bad := func(format string, args ...any) (Faults, error) {
		return Faults{}, fault.New(fault.Usage, "faults: %s", fmt.Sprintf(format, args...)).
			WithHint("write them as 429:0.1,500:0.05,reset:0.05,slow:0.1,lost:0.05,lie:0.05")
	}
	sum := 0.0
	for part := range strings.SplitSeq(s, ",") {
		name, number, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			return bad("%.40q has no probability", part)
		}
		k := faultKind{name: name}
		switch name {
		case faultReset, faultSlow, faultLost, faultLie:
		default:
			status, err := strconv.Atoi(name)
			if err != nil || status < 400 || status > 599 || len(name) != 3 {
				return bad("%.40q is neither a status from 400 to 599 nor reset, slow, lost or lie", name)
			}
			k.status = status
		}
		for _, other := range f.list {
			if other.name == name {
				return bad("%s is there twice", name)
			}
		}
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p >= 0 && p <= 1) {
			return bad("%.40q is not a probability from 0 to 1", number)
		}
		k.probability = p
		if sum += p; sum > 1+1e-9 {
			return bad("the probabilities add up to more than 1")
		}
		if f.list = append(f.list, k); len(f.list) > maxFaults {
			return bad("the list is too long")
		}
	}
	return f, nil
}

// String returns f in the form that ParseFaults reads.
func (f Faults) String() string {
	var parts []string
	for _, k := range f.list {
		parts = append(parts, k.name+":"+strconv.FormatFloat(k.probability, 'g', -1, 64))
	}
	return strings.Join(parts, ",")
}

// draws is the sequence of faults.
type draws struct {
	mu     sync.Mutex
	random *rand.Rand // guarded by mu
	faults Faults     // guarded by mu
	taken  int        // guarded by mu; how many calls have drawn
}

// drawn is one fault that happens; its name is "" when none does.
type drawn struct {
	name   string
	status int
	pick   uint64 // which of its variants
}

func newDraws(f Faults, seed uint64) *draws {
	if seed == 0 {
		var b [8]byte
		crand.Read(b[:]) // never fails
		seed = binary.LittleEndian.Uint64(b[:])
	}
	return &draws{random: rand.New(rand.NewPCG(seed, 0)), faults: f}
}

func (d *draws) set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// drawn is how many calls have drawn.
func (d *draws) drawn() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.taken
}

// next draws for one call. Every call takes two numbers from the sequence,
// whatever comes of them, so that the n-th call of a seed meets the same fault
// under other variants.
func (d *draws) next() drawn {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken++
	at, pick := d.random.Float64(), d.random.Uint64()
	for _, k := range d.faults.list {
		if at < k.probability {
			return drawn{k.name, k.status, pick}
		}
		at -= k.probability
	}
	return drawn{}
}

// played is the answer of a fault that is a status.
func (s *Server) played(status int) answer {
	return s.failure(status, "this failure was asked for with --fault")
}

// failure is an answer that was asked for, as the platform would give it.
func (s *Server) failure(status int, message string) answer {
	a := refuse(status, "fault", message)
	switch status {
	case 401:
		a = unauthorized()
	case 429, 503:
		if seconds := int(s.retryAfter.Seconds()); seconds > 0 {
			a = a.with("Retry-After", strconv.Itoa(seconds))
		}
	}
	return a
}

// result is the verdict on one event.
type result struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Reason string `json:"reason,omitzero"`
	// Have is the hash of the body that is held, where another came under its id.
	Have string `json:"have,omitzero"`
}

type results struct {
	Results []result `json:"results"`
}

// endless is the size of an answer that is larger than any client should read.
const endless = 16 << 20

// lie turns an honest answer into one that shows that it cannot be believed.
func lie(a answer, pick uint64) answer {
	if a.status != 200 && a.lies == nil {
		return notJSON()
	}
	if n := uint64(len(a.lies)); n > 0 {
		which := pick % (anyLies + n)
		if which < anyLies {
			return lieOfAny(a, which)
		}
		return a.lies[which-anyLies]()
	}
	var doc results
	if json.Unmarshal(a.body, &doc) != nil || len(doc.Results) == 0 {
		return lieOfAny(a, pick%anyLies)
	}
	last := len(doc.Results) - 1
	switch pick % 8 {
	case 0:
		return lieOfAny(a, notJSONLie)
	case 1:
		return lieOfAny(a, cutOffLie)
	case 2:
		doc.Results = doc.Results[:last]
	case 3:
		doc.Results = append(doc.Results, doc.Results[last])
	case 4:
		doc.Results = append(doc.Results, result{ID: strings.Repeat("0", 64), Status: "accepted"})
	case 5:
		doc.Results[last].Status = "perhaps"
	case 6:
		return lieOfAny(a, endlessLie)
	case 7:
		return lieOfAny(a, emptyLie)
	}
	return reply(200, doc)
}

// The lies that every answer can be turned into.
const (
	notJSONLie = iota
	cutOffLie
	endlessLie
	emptyLie
	anyLies // how many there are
)

func lieOfAny(a answer, which uint64) answer {
	switch which {
	case cutOffLie:
		a.body = a.body[:len(a.body)/2]
		return a
	case endlessLie:
		a.body = append(a.body, strings.Repeat(" ", endless)...)
		return a
	case emptyLie:
		return answer{status: 204}
	}
	return notJSON()
}

func notJSON() answer {
	return answer{status: 200, contentType: "text/html", body: []byte("<!doctype html><title>Welcome to the café's network</title>\n")}
}
