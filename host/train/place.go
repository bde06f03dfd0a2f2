package train

import (
	"bytes"
	"context"
	"strconv"

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
// where it comes from.
func Trace(ctx context.Context, t Translator, c *Config, plan *Plan, fields []string) map[string]string {
	sought := map[string]jsontext.Value{}
	for _, field := range fields[:min(len(fields), maxSought)] {
		if v, ok := member(plan.Payload(), field); ok {
			sought[field] = v
		}
	}
	found := map[string]string{}
	leaves := leavesOf(c.root, "", nil)
	for _, leaf := range leaves[:min(len(leaves), maxLeaves)] {
		for _, other := range alternatives(leaf.node) {
			if len(found) == len(sought) || ctx.Err() != nil {
				return found
			}
			made, refused, err := t.Translate(ctx, c.with(leaf.node, other))
			if err != nil || len(refused) > 0 {
				continue
			}
			changed := (&Plan{Backend: plan.Backend, Args: made.Args, Argv: plan.Argv, ConfigDigest: plan.ConfigDigest}).Payload()
			hit := false
			for field, was := range sought {
				if _, done := found[field]; done {
					continue
				}
				if now, there := member(changed, field); !there || !bytes.Equal(now, was) {
					found[field], hit = leaf.pointer, true
				}
			}
			if hit {
				break
			}
		}
	}
	return found
}

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

// leavesOf lists the values of a config that hold no others, and the lists.
func leavesOf(n *yamltree.Node, pointer string, list []configLeaf) []configLeaf {
	if n.Kind != yamltree.Object {
		return append(list, configLeaf{pointer, n})
	}
	for _, m := range n.Members {
		list = leavesOf(m.Value, string(jsontext.Pointer(pointer).AppendToken(m.Name)), list)
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
func alternatives(n *yamltree.Node) []*yamltree.Node {
	list := []*yamltree.Node{nil}
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
