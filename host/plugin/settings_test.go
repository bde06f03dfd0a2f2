package plugin

import (
	"strings"
	"testing"

	"carl.camp/carl/host/fault"
	"carl.camp/carl/host/home"
)

const schemaText = `{
  "type": "object",
  "required": ["file"],
  "additionalProperties": false,
  "properties": {
    "file": {"type": "string", "minLength": 1},
    "rotate": {"type": "object", "properties": {"mib": {"type": "integer", "minimum": 1, "maximum": 9007199254740993}}, "additionalProperties": false},
    "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3}
  },
  "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}}
}`

func TestCheckSettings(t *testing.T) {
	p := &Plugin{Manifest: &Manifest{Name: "acme.dev/x"}, Schema: []byte(schemaText)}
	for _, c := range []struct {
		settings string
		want     []string
	}{
		{`{file: a}`, nil},
		{`{file: a, rotate: {mib: 9007199254740993}, tags: [a, b]}`, nil},
		{`{}`, []string{"config.yaml:2:39: settings: missing property 'file'"}},
		{`{file: 1}`, []string{"config.yaml:2:46: /file: got number, want string"}},
		{`{file: a, fiel: b}`, []string{`config.yaml:2:55: /fiel: unknown member, the nearest is "file"`}},
		{`{file: a, rotate: {mbi: 1}}`, []string{`/rotate/mbi: unknown member, the nearest is "mib"`}},
		{`{file: a, output: b}`, []string{"/output: unknown member, known are file, rotate and tags"}},
		{`{file: a, rotate: {mib: 9007199254740994}}`, []string{"/rotate/mib: maximum:"}},
		{`{file: a, tags: [ok, BAD, 3]}`, []string{"config.yaml:2:60: /tags/1: 'BAD' does not match pattern", "config.yaml:2:65: /tags/2: got number, want string"}},
		{`{file: "", tags: [A, B, C, D, E, F, G]}`, []string{"; and more"}},
	} {
		conf, err := home.ParseConfig([]byte("destinations:\n  d: {plugin: acme.dev/x, settings:   "+c.settings+"}\n"), "config.yaml")
		if err != nil {
			t.Fatal(err)
		}
		d := conf.Destinations[0]
		err = p.CheckSettings(d.Settings, d.Place)
		if c.want == nil {
			if err != nil {
				t.Errorf("%s: %v", c.settings, err)
			}
			continue
		}
		for _, want := range c.want {
			if fault.CodeOf(err) != fault.PluginSettingsInvalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was sent") {
				t.Errorf("%s: got %v, want %s", c.settings, err, want)
			}
		}
	}
	bare := &Plugin{Manifest: &Manifest{Name: "acme.dev/x"}}
	if err := bare.CheckSettings([]byte("{}"), nil); err != nil {
		t.Error(err)
	}
	if err := bare.CheckSettings([]byte(`{"a":1}`), nil); err != nil {
		t.Errorf("%v", err)
	}
}

func FuzzSchema(f *testing.F) {
	f.Add([]byte(schemaText), []byte(`{"file":"a","tags":["b"]}`))
	f.Add([]byte(`{"$ref":"#"}`), []byte(`{}`))
	f.Add([]byte(`{"$schema":"http://json-schema.org/draft-04/schema#","$dynamicRef":"#x","unevaluatedProperties":false}`), []byte(`{"a":{"b":[1,2.5e3]}}`))
	f.Fuzz(func(t *testing.T, schema, settings []byte) {
		if len(settings) > 1<<10 { // the operator's own, and small
			return
		}
		p := &Plugin{Manifest: &Manifest{Name: "acme.dev/x"}, Schema: schema}
		if err := p.CheckSettings(settings, nil); err != nil && fault.CodeOf(err) != fault.PluginSettingsInvalid {
			t.Fatalf("%v", err)
		}
	})
}
