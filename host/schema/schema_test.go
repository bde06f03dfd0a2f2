package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"carl.camp/carl/host/schema"
)

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
		_, err := schema.Compile([]byte(c.schema), 256<<10)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, text := range map[string]string{
		"anything":      `{}`,
		"true":          `true`,
		"recursive":     `{"type":"object","properties":{"next":{"$ref":"#"}}}`,
		"an old draft":  `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`,
		"the 2020 form": `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}`,
	} {
		if _, err := schema.Compile([]byte(text), 256<<10); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
