package train

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"carl.camp/carl/host/yamltree"
)

const (
	// maxLeaves bounds how many values of a config are tried as the source of an
	// argument: more than any config has that a person wrote.
	maxLeaves = 512
	// maxSought bounds how many arguments are traced to their place.
	maxSought = 32
)

// Trace finds the places of a config that arguments come from, which the platform
// refused: for each JSON Pointer into the payload the pointer into the config, or
// none. A translator is pure, so it can be asked what would become of the config
// without one value, or with another one in its place: what changes the argument is
// where it comes from. What stands under `extra` by its own name needs no asking.
func Trace(ctx context.Context, t Translator, c *Config, plan *Plan, fields []string) map[string]string {
	found := map[string]string{}
	sought := map[string]jsontext.Value{}
	payload := plan.Payload()
	for _, field := range fields[:min(len(fields), maxSought)] {
		at := plan.flagOf(field)
		if pointer, ok := c.extra(at); ok {
			found[field] = pointer
		} else if v, ok := member(payload, at); ok {
			sought[field] = v
		}
	}
	choices := choicesOf(ctx, t)
	leaves := leavesOf(c.root, "", nil)
	for _, leaf := range leaves[:min(len(leaves), maxLeaves)] {
		for _, other := range alternatives(leaf.node, choices(leaf.pointer)) {
			if len(sought) == 0 || ctx.Err() != nil {
				return found
			}
			made, refused, err := t.Translate(ctx, c.with(leaf.node, other))
			if err != nil || len(refused) > 0 {
				continue
			}
			changed := (&Plan{Backend: plan.Backend, Args: made.Args, Argv: plan.Argv, ConfigDigest: plan.ConfigDigest}).Payload()
			hit := false
			for field, was := range sought {
				if now, there := member(changed, plan.flagOf(field)); !there || !bytes.Equal(now, was) {
					found[field], hit = leaf.pointer, true
					delete(sought, field)
				}
			}
			if hit {
				break
			}
		}
	}
	// What nothing changes alone may say the argument's name.
	for field := range sought {
		name := jsontext.Pointer(plan.flagOf(field)).LastToken()
		for _, leaf := range leaves {
			if n := leaf.node; n.Kind == yamltree.String && name != "" && strings.HasPrefix(n.Text, name) {
				found[field] = leaf.pointer
				break
			}
		}
	}
	return found
}

// flagOf is the argument that a pointer into the payload means: of the command line,
// the one that the flag at that place, or before it, sets.
func (p *Plan) flagOf(field string) string {
	rest, ok := strings.CutPrefix(field, "/argv/")
	if n, err := strconv.Atoi(rest); ok && err == nil && n >= 0 && n < len(p.Argv) {
		for ; n >= 0; n-- {
			name, isFlag := strings.CutPrefix(p.Argv[n], "--")
			if !isFlag {
				continue
			}
			name, _, _ = strings.Cut(name, "=")
			name = strings.ReplaceAll(name, "-", "_")
			for d := jsontext.NewDecoder(bytes.NewReader(p.Args)); ; {
				token, err := d.ReadToken()
				if err != nil {
					return field
				}
				if kind, n := d.StackIndex(d.StackDepth()); token.Kind() == '"' && token.String() == name && kind == '{' && n%2 == 1 {
					return "/args" + string(d.StackPointer())
				}
			}
		}
	}
	return field
}

// extra finds the member under `extra` that has an argument's own name.
func (c *Config) extra(field string) (pointer string, ok bool) {
	maps := c.root.Member("extra")
	name := jsontext.Pointer(field).LastToken()
	if maps == nil || maps.Kind != yamltree.Object || name == "" {
		return "", false
	}
	for _, m := range maps.Members {
		if m.Value.Kind == yamltree.Object && m.Value.Member(name) != nil {
			return string(jsontext.Pointer("/extra").AppendToken(m.Name).AppendToken(name)), true
		}
	}
	return "", false
}

// word is what a pattern that lists words consists of.
var word = regexp.MustCompile(`[A-Za-z][A-Za-z0-9_]+`)

// choicesOf reads the enumerations of a translator's config, and the words of its
// patterns: a value of one cannot be changed into just anything.
func choicesOf(ctx context.Context, t Translator) func(pointer string) []string {
	text, err := t.ConfigSchema(ctx)
	var schema any
	if err != nil || json.Unmarshal(text, &schema) != nil {
		return func(string) []string { return nil }
	}
	return func(pointer string) []string {
		var choices []string
		var walk func(s any, path []string)
		walk = func(s any, path []string) {
			m, ok := s.(map[string]any)
			if !ok || len(choices) > maxChoices {
				return
			}
			for _, keyword := range []string{"anyOf", "oneOf", "allOf"} {
				if list, ok := m[keyword].([]any); ok {
					for _, sub := range list {
						walk(sub, path)
					}
				}
			}
			if len(path) == 0 {
				if list, ok := m["enum"].([]any); ok {
					for _, v := range list {
						if s, ok := v.(string); ok {
							choices = append(choices, s)
						}
					}
				}
				if pattern, ok := m["pattern"].(string); ok {
					choices = append(choices, word.FindAllString(pattern, maxChoices)...)
				}
				return
			}
			if properties, ok := m["properties"].(map[string]any); ok {
				walk(properties[path[0]], path[1:])
			}
		}
		walk(schema, slices.Collect(jsontext.Pointer(pointer).Tokens()))
		return choices
	}
}

// maxChoices bounds how many values of an enumeration are tried.
const maxChoices = 8

// member is what a JSON Pointer leads to in a JSON text.
func member(doc []byte, pointer string) (jsontext.Value, bool) {
	p := jsontext.Pointer(pointer)
	if !p.IsValid() || pointer == "" {
		return nil, false
	}
	d := jsontext.NewDecoder(bytes.NewReader(doc))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return nil, false
		}
		if d.StackPointer() != p || token.Kind() == '}' || token.Kind() == ']' {
			continue
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
			v, err := d.ReadValue()
			return v.Clone(), err == nil
		}
		// A value within a list was read with its token.
		return jsontext.Value(token.String()), true
	}
}

type configLeaf struct {
	pointer string
	node    *yamltree.Node
}

// leavesOf lists the values of a config: those that hold no others, and the lists,
// and behind its members each mapping but the outermost.
func leavesOf(n *yamltree.Node, pointer string, list []configLeaf) []configLeaf {
	if n.Kind != yamltree.Object {
		return append(list, configLeaf{pointer, n})
	}
	for _, m := range n.Members {
		list = leavesOf(m.Value, string(jsontext.Pointer(pointer).AppendToken(m.Name)), list)
	}
	if pointer != "" {
		list = append(list, configLeaf{pointer, n})
	}
	return list
}

// with is the JSON of a config with another value in one place.
func (c *Config) with(old, other *yamltree.Node) []byte {
	return replaced(c.root, old, other).AppendJSON(nil)
}

func replaced(n, old, other *yamltree.Node) *yamltree.Node {
	if n == old {
		return other
	}
	if n.Kind != yamltree.Object {
		return n
	}
	copied := &yamltree.Node{Pos: n.Pos, Kind: n.Kind}
	for _, m := range n.Members {
		if v := replaced(m.Value, old, other); v != nil {
			copied.Members = append(copied.Members, yamltree.Member{Pos: m.Pos, Name: m.Name, Value: v})
		}
	}
	return copied
}

// alternatives are what is tried in the place of a value: nothing, and a value of
// its kind that is near.
func alternatives(n *yamltree.Node, choices []string) []*yamltree.Node {
	list := []*yamltree.Node{nil}
	for _, choice := range choices {
		if choice != n.Text {
			list = append(list, &yamltree.Node{Kind: yamltree.String, Text: choice})
		}
	}
	switch n.Kind {
	case yamltree.Bool:
		list = append(list, &yamltree.Node{Kind: yamltree.Bool, Text: strconv.FormatBool(n.Text != "true")})
	case yamltree.Number:
		if v, err := strconv.ParseInt(n.Text, 10, 64); err == nil {
			for _, other := range []int64{v + 1, v * 2, v / 2} {
				list = append(list, &yamltree.Node{Kind: yamltree.Number, Text: strconv.FormatInt(other, 10)})
			}
		} else if v, err := strconv.ParseFloat(n.Text, 64); err == nil {
			list = append(list, &yamltree.Node{Kind: yamltree.Number, Text: strconv.FormatFloat(v/2, 'g', -1, 64)})
		}
	case yamltree.String:
		list = append(list, &yamltree.Node{Kind: yamltree.String, Text: n.Text + "x"})
	}
	return list
}
