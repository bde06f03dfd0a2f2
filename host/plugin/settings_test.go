package plugin

import (
	"fmt"
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

func TestSchemaRefuses(t *testing.T) {
	// Each definition names the next one twice: 2^60 steps for any value.
	var doubling strings.Builder
	doubling.WriteString(`{"$ref":"#/$defs/d0","$defs":{`)
	for i := range 60 {
		fmt.Fprintf(&doubling, `"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	doubling.WriteString(`"d60":true}}`)
	for _, c := range []struct{ name, schema, want string }{
		{"not JSON", "type: object", "not one JSON value"},
		{"two values", `{} {}`, "not one JSON value"},
		{"duplicate member", `{"type":"object","type":"array"}`, "not one JSON value without duplicate members"},
		{"bad UTF-8", "{\"title\":\"\xff\"}", "not one JSON value"},
		{"too deep", strings.Repeat(`{"not":`, 70) + "{}" + strings.Repeat("}", 70), "nested deeper than 64 levels"},
		{"too large", `{"title":"` + strings.Repeat("x", 256<<10) + `"}`, "larger than 256 KiB"},
		{"not a schema", `{"type":"objekt"}`, ""},
		{"a file", `{"$ref":"file:///etc/passwd"}`, "may refer to itself only"},
		{"the network", `{"$ref":"https://example.com/schema.json"}`, "may refer to itself only"},
		{"another draft from the network", `{"$schema":"https://example.com/draft"}`, "may refer to itself only"},
		{"a bad pattern", `{"pattern":"("}`, ""},
		{"an anchor that is not there", `{"$ref":"#nowhere"}`, ""},
		{"doubling", doubling.String(), "checking against it might never end"},
	} {
		_, err := compileSchema([]byte(c.schema))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, schema := range map[string]string{
		"anything":      `{}`,
		"true":          `true`,
		"recursive":     `{"type":"object","properties":{"next":{"$ref":"#"}}}`,
		"an old draft":  `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`,
		"the 2020 form": `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}`,
	} {
		if _, err := compileSchema([]byte(schema)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
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
