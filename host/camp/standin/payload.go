package standin

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/camp"
)

const (
	// maxPayload bounds a payload: the longest of the known launches takes 16 KiB.
	maxPayload = 1 << 20
	// maxPayloadDepth bounds its nesting; the deepest known has 6 levels.
	maxPayloadDepth = 32
	// maxFlaws bounds how many fields a refusal names, which is what carl reads.
	maxFlaws = 32
	// maxArgv bounds the tokens of the command line; the longest known has 228.
	maxArgv = 8192
	// maxName bounds the name of a backend and of an argument.
	maxName = 128
	// defaultSteps is how many steps a run has whose payload does not say it.
	defaultSteps = 10
	// maxSteps bounds num_rollout, so that no progress is lost in rounding.
	maxSteps = 1 << 31
)

// flaws are what is wrong with a payload, in its own order.
type flaws struct {
	list []camp.Field
}

func (f *flaws) add(at jsontext.Pointer, format string, args ...any) {
	if len(f.list) < maxFlaws {
		f.list = append(f.list, camp.Field{Path: string(at), Message: fmt.Sprintf(format, args...)})
	}
}

// sumOf is the digest of a payload without the white space between tokens, or,
// where it is not JSON, of its bytes.
func sumOf(body []byte) digest {
	compact := jsontext.Value(bytes.Clone(body))
	if compact.Compact() != nil {
		return sha256.Sum256(body)
	}
	return sha256.Sum256(compact)
}

// parsePayload reads the body of a submission, returns how many steps it asks
// for, and refuses one that is not as
// API.md has it or holds a credential. own is the caller's token. A refusal
// holds no text of body but the names of members.
func parsePayload(body []byte, own string) (steps int64, refusal *answer) {
	refused := func(code, message string, list []camp.Field) (int64, *answer) {
		a := refuse(422, code, message, list...)
		return 0, &a
	}
	// Nothing is said of a payload, not even the name of a member, before it is
	// known that there is no token in it.
	wrong, leaked := scan(body, own)
	if leaked != nil {
		return refused("holds_token", "the payload holds a credential, and the platform uses its own", leaked)
	}
	if wrong != nil {
		return refused("invalid_payload", "the body is not a payload", []camp.Field{*wrong})
	}
	f := &flaws{}
	steps = f.payload(body)
	if len(f.list) > 0 {
		return refused("invalid_payload", "the body is not a payload", f.list)
	}
	return steps, nil
}

// stepsOf is how many steps a payload asks for that was accepted once, by
// whatever rules were in force then.
func stepsOf(body []byte) int64 { return new(flaws).payload(body) }

// scan reads all of body. wrong is what keeps it from being one JSON object,
// and leaked the places of credentials.
func scan(body []byte, own string) (wrong *camp.Field, leaked []camp.Field) {
	f := &flaws{}
	whole := 0 // values that have ended
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if d.PeekKind() != '{' {
		wrong = &camp.Field{Message: "not a JSON object"}
	}
	for {
		token, err := d.ReadToken()
		if err == io.EOF {
			return wrong, f.list
		}
		at := d.StackPointer()
		if err != nil {
			if wrong == nil {
				// Of a member that is there twice, the name was not looked at.
				var where *jsontext.SyntacticError
				if errors.As(err, &where) {
					at = where.JSONPointer
				}
				if credential(string(at), own) != "" {
					at = ""
				}
				wrong = &camp.Field{Path: string(at), Message: syntax(err)}
			}
			return wrong, f.list
		}
		if d.StackDepth() == 0 {
			whole++
		}
		if whole > 1 && wrong == nil {
			wrong = &camp.Field{Message: "something follows the object"}
		}
		if d.StackDepth() > maxPayloadDepth && wrong == nil {
			wrong = &camp.Field{Message: fmt.Sprintf("nested deeper than %d levels", maxPayloadDepth)}
		}
		if token.Kind() != '"' {
			continue
		}
		s := token.String()
		kind, n := d.StackIndex(d.StackDepth())
		named := kind == '{' && n%2 == 1
		if credential(string(at.Parent()), own) != "" {
			at = "" // the name of a member above it was refused
		}
		if what := credential(s, own); what != "" && named {
			f.add(at.Parent(), "the name of a member holds a token (%s)", what)
		} else if what != "" {
			f.add(at, "it holds a token (%s)", what)
		} else if (named || strings.HasPrefix(s, "--")) && credentialName(s) {
			f.add(at, "it is named like a credential")
		}
	}
}

// member is one of an object.
type member struct {
	name  string
	at    jsontext.Pointer
	value jsontext.Value
}

// membersOf reads a valid JSON object.
func membersOf(at jsontext.Pointer, v jsontext.Value) []member {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	d.ReadToken()
	var list []member
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return list
		}
		m := member{name: name.String()}
		m.at = at.AppendToken(m.name)
		value, err := d.ReadValue()
		if err != nil {
			return list
		}
		m.value = value.Clone()
		list = append(list, m)
	}
	return list
}

// elements reads a valid JSON array.
func elements(v jsontext.Value) []jsontext.Value {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	d.ReadToken()
	var list []jsontext.Value
	for k := d.PeekKind(); k != ']' && k != 0; k = d.PeekKind() {
		value, err := d.ReadValue()
		if err != nil {
			return list
		}
		list = append(list, value.Clone())
	}
	return list
}

// object reads a value that must be an object, whose members are known.
func (f *flaws) object(at jsontext.Pointer, v jsontext.Value, known, required []string) map[string]member {
	if v.Kind() != '{' {
		f.add(at, "not an object")
		return nil
	}
	all := map[string]member{}
	for _, m := range membersOf(at, v) {
		if known != nil && !slices.Contains(known, m.name) {
			f.add(m.at, "no such member; there are %s", strings.Join(known, ", "))
			continue
		}
		all[m.name] = m
	}
	for _, name := range required {
		if _, has := all[name]; !has {
			f.add(at.AppendToken(name), "is missing")
		}
	}
	return all
}

var payloadMembers = []string{"args", "argv", "backend", "config_digest"}

// payload checks a JSON object, and returns how many steps it asks for.
func (f *flaws) payload(body []byte) (steps int64) {
	steps = defaultSteps
	all := f.object("", bytes.TrimLeft(body, " \t\r\n"), payloadMembers, payloadMembers)
	backend := ""
	if m, has := all["backend"]; has {
		var ok bool
		if backend, ok = text(m.value); !ok || !isBackend(backend) {
			f.add(m.at, "not the name of a backend, such as slime or acme.dev/verl")
		}
	}
	if m, has := all["config_digest"]; has {
		if v, ok := text(m.value); !ok || !isHex(v, 2*sha256.Size) {
			f.add(m.at, "not 64 lowercase hex digits")
		}
	}
	if m, has := all["argv"]; has {
		f.argv(m)
	}
	if m, has := all["args"]; has {
		if backend == "slime" || backend == "carl.camp/slime" {
			steps = f.slime(m)
		} else if m.value.Kind() != '{' {
			f.add(m.at, "not an object")
		}
	}
	return steps
}

// isBackend accepts elements of a-z, 0-9, point, hyphen and underscore, with
// slashes between them, as plugins are named.
func isBackend(s string) bool {
	if len(s) > maxName {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if !isGrantKey(part) || !isAlnum(part[0]) {
			return false
		}
	}
	return true
}

func (f *flaws) argv(m member) {
	if m.value.Kind() != '[' {
		f.add(m.at, "not a list")
		return
	}
	list := elements(m.value)
	if len(list) > maxArgv {
		f.add(m.at, "more than %d texts", maxArgv)
		return
	}
	for i, v := range list {
		at := m.at.AppendToken(strconv.Itoa(i))
		if s, ok := text(v); !ok {
			f.add(at, "not a text")
		} else if strings.Contains(s, "\x00") {
			f.add(at, "it holds a NUL, which no argument can")
		}
	}
}

// bound is what an argument of slime must be, as far as the platform looks.
type bound struct {
	kind jsontext.Kind // '"', '0' or 't'
	// whole numbers have no fraction.
	whole bool
	least float64
	// above excludes least.
	above bool
	most  float64 // 0 is none
}

// slimeArgs are the arguments that decide what a run costs and whether it can
// begin. The others are the backend's to check.
var slimeArgs = map[string]bound{
	"hf_checkpoint":               {kind: '"'},
	"prompt_data":                 {kind: '"'},
	"colocate":                    {kind: 't'},
	"actor_num_nodes":             {kind: '0', whole: true},
	"actor_num_gpus_per_node":     {kind: '0', whole: true},
	"rollout_num_gpus":            {kind: '0', whole: true},
	"rollout_num_gpus_per_engine": {kind: '0', whole: true, least: 1},
	"num_gpus_per_node":           {kind: '0', whole: true, least: 1},
	"num_rollout":                 {kind: '0', whole: true, most: maxSteps},
	"num_epoch":                   {kind: '0', whole: true, least: 1},
	"rollout_batch_size":          {kind: '0', whole: true, least: 1},
	"n_samples_per_prompt":        {kind: '0', whole: true, least: 1},
	"global_batch_size":           {kind: '0', whole: true, least: 1},
	"micro_batch_size":            {kind: '0', whole: true, least: 1},
	"num_steps_per_rollout":       {kind: '0', whole: true, least: 1},
	"over_sampling_batch_size":    {kind: '0', whole: true, least: 1},
	"max_tokens_per_gpu":          {kind: '0', whole: true, least: 1},
	"rollout_max_response_len":    {kind: '0', whole: true, least: 1},
	"save_interval":               {kind: '0', whole: true, least: 1},
	"eval_interval":               {kind: '0', whole: true, least: 1},
	"rollout_temperature":         {kind: '0', above: true},
	"rollout_top_p":               {kind: '0', above: true, most: 1},
	"eval_top_p":                  {kind: '0', above: true, most: 1},
}

// slime checks the arguments of slime, and returns how many steps they ask for.
func (f *flaws) slime(m member) (steps int64) {
	steps = defaultSteps
	all := f.object(m.at, m.value,
		[]string{"slime_args_version", "entrypoint", "args", "megatron", "sglang", "router"},
		[]string{"slime_args_version", "entrypoint", "args"})
	if v, has := all["slime_args_version"]; has && string(v.value) != "1" {
		f.add(v.at, "not 1, which is the only version")
	}
	async := false
	if v, has := all["entrypoint"]; has {
		entry, _ := text(v.value)
		if async = entry == "train_async.py"; !async && entry != "train.py" {
			f.add(v.at, "neither train.py nor train_async.py")
		}
	}
	for _, section := range []string{"args", "megatron", "sglang", "router"} {
		v, has := all[section]
		if !has {
			continue
		}
		var required []string
		if section == "args" {
			required = []string{"hf_checkpoint", "rollout_batch_size"}
		}
		args := f.object(v.at, v.value, nil, required)
		for _, a := range membersOf(v.at, orEmpty(v.value)) {
			f.argument(a)
			if section == "args" {
				f.bounded(a)
			}
		}
		if section != "args" {
			continue
		}
		if c, has := args["colocate"]; has && async && c.value.Kind() == 't' {
			f.add(c.at, "train_async.py cannot share the GPUs")
		}
		if n, has := args["num_rollout"]; has {
			if number, err := strconv.ParseInt(string(n.value), 10, 64); err == nil && number > 0 {
				steps = number
			}
		}
	}
	return steps
}

// orEmpty is v, or an empty object where it is none.
func orEmpty(v jsontext.Value) jsontext.Value {
	if v.Kind() != '{' {
		return jsontext.Value("{}")
	}
	return v
}

// argument checks name and type of one argument.
func (f *flaws) argument(a member) {
	if !isArgument(a.name) {
		f.add(a.at, "not the name of an argument: a-z, 0-9 and underscore, a letter first")
	}
	switch a.value.Kind() {
	case 'n':
		f.add(a.at, "null is no value of an argument")
	case '[':
		for i, v := range elements(a.value) {
			if k := v.Kind(); k == '{' || k == '[' || k == 'n' {
				f.add(a.at.AppendToken(strconv.Itoa(i)), "neither text, number nor boolean")
			}
		}
	case '"':
		if s, _ := text(a.value); strings.Contains(s, "\x00") {
			f.add(a.at, "it holds a NUL, which no argument can")
		}
	}
}

func isArgument(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' })
}

// bounded holds an argument that is looked at against its bounds.
func (f *flaws) bounded(a member) {
	b, has := slimeArgs[a.name]
	if !has {
		return
	}
	kind := a.value.Kind()
	if kind == 'f' {
		kind = 't'
	}
	switch {
	case kind != b.kind:
		f.add(a.at, "not a %s", map[jsontext.Kind]string{'"': "text", '0': "number", 't': "boolean"}[b.kind])
	case kind == '"':
		if s, _ := text(a.value); s == "" {
			f.add(a.at, "is empty")
		}
	case kind == '0':
		n, err := strconv.ParseFloat(string(a.value), 64)
		switch {
		case b.whole && strings.ContainsAny(string(a.value), ".eE"), err != nil:
			f.add(a.at, "not a whole number")
		case b.above && n <= b.least:
			f.add(a.at, "not more than %g", b.least)
		case n < b.least:
			f.add(a.at, "less than %g", b.least)
		case b.most != 0 && n > b.most:
			f.add(a.at, "more than %g", b.most)
		}
	}
}
