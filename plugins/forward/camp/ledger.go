package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"carl.camp/carl/sdk/forwarder"
	"carl.camp/carl/sdk/http"
	"carl.camp/carl/sdk/json"
)

const (
	blockType = "application/json"
	// maxAnswer bounds an answer that acknowledges a block, in bytes: an ack,
	// and the longest receipt with every byte of it escaped. A batch's answers
	// lie in the guest's memory until the batch is done.
	maxAnswer = 64 << 10
	// maxReceipt bounds a receipt, in bytes: a signed note of a few lines takes
	// a tenth of it, and carl passes on no more.
	maxReceipt = 4 << 10
	// patience is for how long a batch goes on to its next block. carl ends a
	// call that takes too long, and what it acknowledged is then lost: behind a
	// slow line, the same full batch would begin anew for ever.
	patience = time.Second
	// laterTimeout bounds the request for a block that others were stored before,
	// for the same reason. The first block of a batch has carl's own limit.
	laterTimeout = 2 * time.Second
	// memory is for how long a failure is the answer to the next batch as well.
	memory = 5 * time.Second
)

const (
	notReached = "a block before it was not stored"
	putOff     = "the blocks before it took long; it goes with the next batch"
)

// deliverLedger posts each block after the one before it was stored, and stops
// at the first that was not: the platform takes them in their order only. What
// keeps the first block from being answered is said of the whole batch; met by
// a later one, it is remembered for the next batch, which begins with that block,
// so that nobody is asked again who asked to be left alone. The blocks before it
// count as what they are.
func (p *platform) deliverLedger(blocks []forwarder.Event) ([]forwarder.Outcome, error) {
	if failure := p.remembered(blocks); failure != nil {
		return nil, failure
	}
	outcomes := make([]forwarder.Outcome, len(blocks))
	begun := p.now()
	stored := true
	for i := range blocks {
		if !stored {
			outcomes[i] = forwarder.Retry(notReached)
			continue
		}
		if i > 0 && p.now().Sub(begun) >= patience {
			outcomes[i], stored = forwarder.Retry(putOff), false
			continue
		}
		outcome, ok, failure := p.deliverBlock(&blocks[i], i > 0)
		if failure != nil {
			if i == 0 {
				return nil, failure
			}
			p.met = met{blocks[i].ID, failure, p.now()}
			outcome = forwarder.Retry(failure.Message)
		}
		outcomes[i], stored = outcome, ok
	}
	return outcomes, nil
}

// met is a failure that was met behind blocks that were stored.
type met struct {
	id      string // of the block
	failure *forwarder.Failure
	at      time.Time
}

// remembered returns, once, the failure that the batch's first block met a moment
// ago, with what is left of the wait.
func (p *platform) remembered(blocks []forwarder.Event) *forwarder.Failure {
	m := p.met
	p.met = met{}
	since := p.now().Sub(m.at)
	if m.failure == nil || len(blocks) == 0 || blocks[0].ID != m.id || since < 0 || since > memory {
		return nil
	}
	left := *m.failure
	if left.RetryAfterMS > 0 {
		passed := uint64(since / time.Millisecond)
		if passed >= left.RetryAfterMS {
			return nil
		}
		left.RetryAfterMS -= passed
	}
	return &left
}

// deliverBlock posts one block. It fails where the platform said nothing about
// this block. One that comes later in a batch is not waited for as long.
func (p *platform) deliverBlock(block *forwarder.Event, later bool) (outcome forwarder.Outcome, stored bool, failure *forwarder.Failure) {
	headers := []http.Header{
		{Name: "Content-Type", Value: blockType},
		{Name: "Accept", Value: "application/json"},
		{Name: "Idempotency-Key", Value: block.ID},
	}
	if p.ledgerKey != "" {
		headers = append(headers, http.Header{Name: "X-Carl-Ledger-Key", Value: p.ledgerKey})
	}
	request := http.Request{Method: "POST", URL: p.ledgerURL, Headers: headers, Body: block.Body}
	if later {
		request.TimeoutMS = uint32(laterTimeout / time.Millisecond)
	}
	response, err := p.send(request)
	if err != nil {
		failure = unsent(err)
		var e *http.Error
		if later && errors.As(err, &e) && e.Kind == http.Timeout {
			return forwarder.Retry(failure.Message), false, nil // it may have needed no more than a little longer
		}
		return outcome, false, failure
	}
	if response.Status == 200 {
		receipt, disbelief := acknowledged(response.Body, block.ID)
		if disbelief != nil {
			return forwarder.Retry(disbelief.Message), false, nil
		}
		return forwarder.Accepted(receipt), true, nil
	}
	f := refusal(response, p.now())
	switch response.Status {
	case 400, 413, 422:
		if next := expected(response); next != "" {
			f.Message = "gap: expected " + next + "; " + f.Message
		}
		return forwarder.Rejected(f.Message), false, nil
	case 409:
		held := heldHash(string(response.Body))
		if !isHash(held) {
			held = ""
		}
		return forwarder.Conflict(held), false, nil
	}
	return outcome, false, f
}

// acknowledged reads {"ack","receipt"?}, the answer that a block is stored. It
// is one only with the block's own signature as its ack; then it counts,
// whatever became of the receipt, which is "" where it is none that carl takes.
func acknowledged(body []byte, sig string) (receipt string, disbelief *forwarder.Failure) {
	if len(body) > maxAnswer {
		return "", disbelieved("it is longer than " + strconv.Itoa(maxAnswer) + " bytes")
	}
	text := string(body)
	clean := utf8.ValidString(text)
	if !clean {
		// An ack holds no such byte, so it is a receipt that does.
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	answer, err := json.Parse(text)
	if err != nil {
		return "", disbelieved(err.Error())
	}
	var members [2]json.Value
	if err := answer.Pick([]string{"ack", "receipt"}, members[:]); err != nil {
		return "", disbelieved(err.Error())
	}
	ack, ok := members[0].Str()
	switch {
	case !ok:
		return "", disbelieved(`"ack" is ` + members[0].Kind().String())
	case ack != sig:
		return "", disbelieved(`"ack" is not the signature of the block that was sent`)
	}
	receipt, _ = members[1].Str()
	if !clean || len(receipt) > maxReceipt {
		return "", nil
	}
	return receipt, nil
}

// expected is the number of the block that the platform wants first, in decimal,
// where it refuses one because others before it are missing; else "".
func expected(r *http.Response) string {
	var parts [3]json.Value
	if r.Status != 422 || !errorParts(r, &parts) {
		return ""
	}
	if code, _ := parts[0].Str(); code != "gap" {
		return ""
	}
	for field := range parts[2].Elements() {
		var members [2]json.Value
		if field.Pick([]string{"path", "message"}, members[:]) != nil {
			return ""
		}
		path, _ := members[0].Str()
		message, _ := members[1].Str()
		next, ok := strings.CutPrefix(message, "expected ")
		if n, err := strconv.ParseUint(next, 10, 64); path == "/seq" && ok && err == nil {
			return strconv.FormatUint(n, 10)
		}
	}
	return ""
}

// isHash reports whether s is a hash as the ledger writes it: 64 lowercase hex
// digits.
func isHash(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}
