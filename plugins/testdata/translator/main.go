// Command translator is a translator that turns {"argv":[...]} into these
// arguments, warns about each that is empty, and refuses everything else.
package main

import (
	"carl.camp/carl/sdk"
	"carl.camp/carl/sdk/json"
	"carl.camp/carl/sdk/translator"
)

func init() {
	sdk.LimitMemory(32)
	translator.Register(lister{})
}

func main() { sdk.Main() }

type lister struct{}

func (lister) ConfigSchema() string { return `{"type":"object"}` }

func (lister) ArgsSchema() string { return `{"type":"object","title":"args"}` }

func (lister) Translate(config string) (translator.Translation, []translator.Diagnostic) {
	v, err := json.Parse(config)
	if err != nil {
		return translator.Translation{}, []translator.Diagnostic{{Message: err.Error()}}
	}
	var argv [1]json.Value
	if err := v.Pick([]string{"argv"}, argv[:]); err != nil {
		return translator.Translation{}, []translator.Diagnostic{{Message: err.Error()}, {Path: "/argv", Message: "wanted", Hint: "give a list"}}
	}
	t := translator.Translation{Entrypoint: "train.py"}
	i := int64(0)
	for arg := range argv[0].Elements() {
		s, _ := arg.Str()
		t.Argv = append(t.Argv, s)
		if s == "" {
			t.Warnings = append(t.Warnings, translator.Diagnostic{Path: "/argv/" + string(json.AppendInt(nil, i)), Message: "empty"})
		}
		i++
	}
	var o json.Object
	o.Open()
	o.Int("count", i)
	o.Close()
	t.Args = string(o.Bytes())
	return t, nil
}
