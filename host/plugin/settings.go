package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/nearest"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const (
	// maxSchema bounds the text of a schema; people write a few kilobytes.
	maxSchema = 256 << 10
	// maxSchemaDepth bounds its nesting, since schemas are walked recursively.
	maxSchemaDepth = 64
	// maxSchemaCost bounds how many subschemas one value can lead through. A
	// schema of a hundred lines can otherwise ask for 2^100 steps, by naming
	// the next definition twice in each. A real one stays under a thousand.
	maxSchemaCost = 100_000
	// maxProblems is how many problems of one settings object are told.
	maxProblems = 5
	// schemaURL is the base of references within the schema; nothing is there.
	schemaURL = "carl:settings"
)

// noLoader keeps a schema from making carl read files or open connections.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema may refer to itself only")
}

// compileSchema accepts a JSON Schema (2020-12 unless it says otherwise) that
// is whole in itself.
func compileSchema(text []byte) (*jsonschema.Schema, error) {
	if len(text) > maxSchema {
		return nil, errors.New("the schema is larger than 256 KiB")
	}
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("the schema is not JSON")
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, firstLine(err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		return nil, firstLine(err)
	}
	if (&schemaCost{of: make(map[*jsonschema.Schema]int)}).add(s) > maxSchemaCost {
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
		if d.StackDepth() > maxSchemaDepth {
			return fmt.Errorf("the schema is nested deeper than %d levels", maxSchemaDepth)
		}
	}
}

// firstLine keeps the one line of the schema package's errors that says what is wrong.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(strings.ReplaceAll(line, schemaURL, ""))
}

// schemaCost counts the subschemas that validation can pass, each as often as
// it is named. A schema that names itself counts once: how deep that leads
// depends on the settings, which are the operator's own.
type schemaCost struct{ of map[*jsonschema.Schema]int }

func (c *schemaCost) add(s *jsonschema.Schema) int {
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
			cost = min(cost+c.add(sub), maxSchemaCost+1)
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

// CheckSettings holds the settings of a destination, one JSON object, against
// the plugin's schema. place turns a JSON Pointer into file:line:column and may
// be nil. The error is carl.plugin.settings_invalid and names each problem by
// its place. A plugin without a schema gets what the operator wrote, and checks
// it itself when it is opened.
func (p *Plugin) CheckSettings(settings []byte, place func(pointer string) string) error {
	name := p.Manifest.Name
	if p.Schema == nil {
		return nil
	}
	s, err := compileSchema(p.Schema)
	if err != nil {
		return fault.New(fault.PluginSettingsInvalid, "the settings of %s cannot be checked: %w", name, err).
			WithHint("ask the plugin's author")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(settings))
	if err != nil {
		return badSettings(name, []string{"they are not JSON"})
	}
	var invalid *jsonschema.ValidationError
	if err := s.Validate(doc); !errors.As(err, &invalid) {
		return err
	}
	var problems []string
	for leaf := range leaves(invalid) {
		if len(problems) == maxProblems {
			problems = append(problems, "and more")
			break
		}
		problems = append(problems, describe(s, leaf, place))
	}
	return badSettings(name, problems)
}

func badSettings(name string, problems []string) error {
	return fault.New(fault.PluginSettingsInvalid, "the settings do not fit %s: %s", name, strings.Join(problems, "; ")).
		WithKept("nothing was sent").WithHint("mend them in config.yaml; `carl plugin inspect %s` shows what it takes", name)
}

// leaves yields the errors that have no others beneath them.
func leaves(e *jsonschema.ValidationError) func(yield func(*jsonschema.ValidationError) bool) {
	return func(yield func(*jsonschema.ValidationError) bool) {
		var walk func(*jsonschema.ValidationError) bool
		walk = func(e *jsonschema.ValidationError) bool {
			if len(e.Causes) == 0 {
				return yield(e)
			}
			for _, c := range e.Causes {
				if !walk(c) {
					return false
				}
			}
			return true
		}
		walk(e)
	}
}

func describe(root *jsonschema.Schema, e *jsonschema.ValidationError, place func(string) string) string {
	pointer := jsontext.Pointer("")
	for _, token := range e.InstanceLocation {
		pointer = pointer.AppendToken(token)
	}
	what := e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	if unknown, ok := e.ErrorKind.(*kind.AdditionalProperties); ok && len(unknown.Properties) > 0 {
		slices.Sort(unknown.Properties)
		name := unknown.Properties[0]
		pointer = pointer.AppendToken(name)
		what = "unknown member"
		if hint := nearest.Hint(name, propertiesAt(root, e.InstanceLocation)); hint != "" {
			what += ", " + hint
		}
	}
	if len(what) > 200 { // a pattern or a list of choices may be long
		what = strings.ToValidUTF8(what[:200], "") + "…"
	}
	at := string(pointer)
	if at == "" {
		at = "settings"
	}
	if place != nil {
		if p := place(string(pointer)); p != "" {
			at = p + ": " + at
		}
	}
	return at + ": " + what
}

// propertiesAt returns the names that a schema knows at a place of the
// settings, sorted, as far as it leads there by properties alone.
func propertiesAt(s *jsonschema.Schema, path []string) []string {
	for {
		for hops := 0; s != nil && s.Ref != nil && hops < maxSchemaDepth; hops++ {
			s = s.Ref
		}
		if s == nil || len(path) == 0 {
			break
		}
		s, path = s.Properties[path[0]], path[1:]
	}
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}
