// Package schema compiles the JSON Schemas that plugins bring: whole in themselves,
// without files or the network, and bounded in what checking against them can cost.
package schema

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// MaxDepth bounds the nesting of a schema, since schemas are walked recursively.
const MaxDepth = 64

const (
	// maxCost bounds how many subschemas one value can lead through. A schema of a
	// hundred lines can otherwise ask for 2^100 steps, by naming the next definition
	// twice in each. A real one stays under a few thousand.
	maxCost = 100_000
	// url is the base of references within the schema; nothing is there.
	url = "carl:schema"
)

// noLoader keeps a schema from making carl read files or open connections.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema may refer to itself only")
}

// Compile accepts a JSON Schema (2020-12 unless it says otherwise) of at most most
// bytes that is whole in itself. The error says in one line what is wrong.
func Compile(text []byte, most int) (*jsonschema.Schema, error) {
	doc, err := read(text, most)
	if err != nil {
		return nil, err
	}
	return compile(doc)
}

// CompileFor compiles of a schema what can matter to a value, one JSON text: of
// properties, those whose names occur in it. A schema of a thousand properties
// takes longer to compile than to check a value against. Where the schema refers to
// what is left out, all of it is compiled.
func CompileFor(text []byte, most int, value []byte) (*jsonschema.Schema, error) {
	doc, err := read(text, most)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for d := jsontext.NewDecoder(bytes.NewReader(value)); ; {
		token, err := d.ReadToken()
		if err != nil {
			break
		}
		if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
			names[token.String()] = true
		}
	}
	if s, err := compile(without(doc, names)); err == nil {
		return s, nil
	}
	return compile(doc)
}

// without copies a schema but for the properties whose names are not in names. It
// goes where only schemas are: into the values of properties and of definitions.
func without(doc any, names map[string]bool) any {
	schema, ok := doc.(map[string]any)
	if !ok {
		return doc
	}
	out := maps.Clone(schema)
	for _, keyword := range []string{"properties", "$defs", "definitions"} {
		members, ok := schema[keyword].(map[string]any)
		if !ok {
			continue
		}
		kept := make(map[string]any, len(names))
		for name, sub := range members {
			if keyword != "properties" || names[name] {
				kept[name] = without(sub, names)
			}
		}
		out[keyword] = kept
	}
	return out
}

// Validate holds a value, one JSON text, against a schema. The error is a
// *[jsonschema.ValidationError] where it does not fit. A number that takes more
// than some hundred digits to write out is refused: comparing it would take them all.
func Validate(s *jsonschema.Schema, value []byte) (err error) {
	if err := checkNumbers(value); err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return errors.New("it is not one JSON value")
	}
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("it could not be checked")
		}
	}()
	return s.Validate(doc)
}

// maxDigits bounds a number, in digits and in its exponent: a float64 needs 309.
const maxDigits = 400

// checkNumbers refuses numbers that are too long, in what is valid JSON.
func checkNumbers(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return nil
		}
		if token.Kind() != '0' {
			continue
		}
		digits, exponent, _ := strings.Cut(strings.ToLower(token.String()), "e")
		n, err := strconv.Atoi(cmp.Or(exponent, "0"))
		if err != nil || len(digits) > maxDigits || n > maxDigits || n < -maxDigits {
			return errors.New("it has a number of hundreds of digits")
		}
	}
}

func read(text []byte, most int) (any, error) {
	if len(text) > most {
		return nil, fmt.Errorf("the schema is larger than %d KiB", most>>10)
	}
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	if err := checkNumbers(text); err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("the schema is not JSON")
	}
	return doc, nil
}

func compile(doc any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource(url, doc); err != nil {
		return nil, firstLine(err)
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, firstLine(err)
	}
	if (&costs{of: make(map[*jsonschema.Schema]int)}).add(s) > maxCost {
		return nil, errors.New("the schema names its parts so often that checking against it might never end")
	}
	return s, nil
}

// checkJSON refuses what the schema package would let pass: duplicate members,
// invalid UTF-8, a second value, and nesting beyond all use.
func checkJSON(text []byte) error {
	if !jsontext.Value(text).IsValid() {
		return errors.New("the schema is not one JSON value without duplicate members")
	}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := d.ReadToken(); err != nil {
			return nil // the end: all of it is valid
		}
		if d.StackDepth() > MaxDepth {
			return fmt.Errorf("the schema is nested deeper than %d levels", MaxDepth)
		}
	}
}

// firstLine keeps the one line of the schema package's errors that says what is wrong.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(strings.ReplaceAll(line, url, ""))
}

// costs counts the subschemas that validation can pass, each as often as
// it is named. A schema that names itself counts once: how deep that leads
// depends on the settings, which are the operator's own.
type costs struct{ of map[*jsonschema.Schema]int }

func (c *costs) add(s *jsonschema.Schema) int {
	if s == nil {
		return 0
	}
	if cost, ok := c.of[s]; ok {
		return cost
	}
	c.of[s] = 1 // while it is being counted
	cost := 1
	each := func(list ...*jsonschema.Schema) {
		for _, sub := range list {
			cost = min(cost+c.add(sub), maxCost+1)
		}
	}
	loose := func(v any) {
		switch v := v.(type) {
		case *jsonschema.Schema:
			each(v)
		case []*jsonschema.Schema:
			each(v...)
		}
	}
	each(s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else, s.PropertyNames, s.UnevaluatedProperties)
	each(s.Contains, s.Items2020, s.UnevaluatedItems, s.ContentSchema)
	each(s.AllOf...)
	each(s.AnyOf...)
	each(s.OneOf...)
	each(s.PrefixItems...)
	if s.DynamicRef != nil {
		each(s.DynamicRef.Ref)
	}
	for _, sub := range s.Properties {
		each(sub)
	}
	for _, sub := range s.PatternProperties {
		each(sub)
	}
	for _, sub := range s.DependentSchemas {
		each(sub)
	}
	for _, sub := range s.Dependencies {
		loose(sub)
	}
	loose(s.AdditionalProperties)
	loose(s.AdditionalItems)
	loose(s.Items)
	c.of[s] = cost
	return cost
}
