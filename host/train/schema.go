package train

import (
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"carl.camp/carl/host/schema"
)

// maxArgsSchema bounds the schema of a backend's arguments, in bytes: slime's, with
// all that it passes on, has 90 KiB.
const maxArgsSchema = 2 << 20

// validate holds arguments against a JSON Schema (2020-12). The first place that
// does not fit is named; the value is not.
func validate(text, args []byte) error {
	if v := jsontext.Value(args); !v.IsValid() || v.Kind() != '{' {
		return errNotObject
	}
	s, err := schema.CompileFor(text, maxArgsSchema, args)
	if err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(s, args); errors.As(err, &invalid) {
		return errors.New(deepest(invalid))
	} else if err != nil {
		return err
	}
	return nil
}

// deepest says where a value does not fit, by the cause that lies deepest.
func deepest(e *jsonschema.ValidationError) string {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	var at strings.Builder
	for _, token := range e.InstanceLocation {
		at.WriteByte('/')
		at.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	what := "does not fit"
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		what = "has members that are not in it"
	case *kind.Required:
		what = "misses " + strings.Join(k.Missing, ", ")
	case *kind.Type:
		what = "is " + k.Got + ", not " + strings.Join(k.Want, " or ")
	}
	if at.Len() == 0 {
		return "the whole " + what
	}
	return at.String() + " " + what
}
