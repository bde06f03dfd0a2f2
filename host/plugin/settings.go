package plugin

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/nearest"
	"carl.camp/carl/host/schema"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const (
	// maxSchema bounds the text of a schema; people write a few kilobytes.
	maxSchema = 256 << 10
	// maxProblems is how many problems of one settings object are told.
	maxProblems = 5
)

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
	s, err := schema.Compile(p.Schema, maxSchema)
	if err != nil {
		return fault.New(fault.PluginSettingsInvalid, "the settings of %s cannot be checked: %w", name, err).
			WithHint("ask the plugin's author")
	}
	var invalid *jsonschema.ValidationError
	switch err := schema.Validate(s, settings); {
	case err == nil:
		return nil
	case !errors.As(err, &invalid):
		return badSettings(name, []string{err.Error()})
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
		for hops := 0; s != nil && s.Ref != nil && hops < schema.MaxDepth; hops++ {
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
