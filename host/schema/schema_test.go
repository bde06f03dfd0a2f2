package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

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

// TestCompileFor holds what was compiled for a value against all of the schema: both
// say the same of it.
func TestCompileFor(t *testing.T) {
	const text = `{"type":"object","additionalProperties":false,"required":["r"],"properties":{
		"r":{"$ref":"#/properties/n"},"n":{"type":"integer"},"o":{"$ref":"#/$defs/o"},
		"properties":{"type":"object","properties":{"x":{"const":1}},"additionalProperties":false},
		"d":{"const":{"properties":{"gone":1}}}},
		"$defs":{"o":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"additionalProperties":false}},
		"if":{"properties":{"n":{"const":7}},"required":["n"]},"then":{"required":["o"]}}`
	whole, err := schema.Compile([]byte(text), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for _, value := range []string{
		`{"r":1}`, `{}`, `{"r":"x"}`, `{"r":1,"n":2}`, `{"r":1,"n":7}`, `{"r":1,"n":7,"o":{}}`, `{"r":1,"o":{"a":"x"}}`, `{"r":1,"o":{"a":1}}`, `{"r":1,"o":{"c":1}}`,
		`{"r":1,"properties":{"x":1}}`, `{"r":1,"properties":{"x":2}}`, `{"r":1,"properties":{"y":1}}`, `{"r":1,"d":{"properties":{"gone":1}}}`, `{"r":1,"d":{"properties":{}}}`, `{"r":1,"z":1}`, `[]`, `1`,
	} {
		part, err := schema.CompileFor([]byte(text), 1<<20, []byte(value))
		if err != nil {
			t.Fatal(value, err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(value))
		if err != nil {
			t.Fatal(err)
		}
		want, got := whole.Validate(v), part.Validate(v)
		if (want == nil) != (got == nil) {
			t.Errorf("%s: %v, and of all of it: %v", value, got, want)
		}
		if want == nil {
			right++
		}
	}
	if right != 6 {
		t.Errorf("%d values are right", right)
	}
}

// TestValidateHugeNumbers has numbers that nobody can write out.
func TestValidateHugeNumbers(t *testing.T) {
	s, err := schema.Compile([]byte(`{"properties":{"a":{"minimum":1},"b":{"multipleOf":2},"c":{"enum":[1]}}}`), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		for _, n := range []string{"1e1000001", "-1e1000001", "1e-1000001", "1E999999999999999999", "1" + strings.Repeat("0", 1000)} {
			if err := schema.Validate(s, []byte(`{"`+name+`":`+n+`}`)); err == nil || strings.Contains(err.Error(), n) {
				t.Errorf("%s %.20s: %v", name, n, err)
			}
		}
	}
	if err := schema.Validate(s, []byte(`{"a":1e300,"b":4,"c":1.0}`)); err != nil {
		t.Error(err)
	}
	if _, err := schema.Compile([]byte(`{"minimum":1e1000001}`), 1<<10); err == nil {
		t.Error("a schema with such a number was compiled")
	}
}
