package main

import (
	"slices"
	"strings"

	"carl.camp/carl/sdk/json"
)

// argsSchema is of what Translate makes: the keys of the table, and no others
// outside extra.
func argsSchema() string {
	var keys json.Object
	keys.Open()
	var seen []string
	for _, r := range table {
		if !slices.Contains(seen, r.to) {
			seen = append(seen, r.to)
			keys.Raw(r.to, r.as.schema)
		}
	}
	keys.Close()
	return `{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"Arguments of verl","type":"object","additionalProperties":false,` +
		`"required":["verl_args_version","entrypoint","overrides","extra"],"properties":{` +
		`"verl_args_version":{"const":1},"entrypoint":{"const":` + quote(entrypoint) + `},` +
		`"overrides":{"type":"object","additionalProperties":false,"properties":` + string(keys.Bytes()) + `},` +
		`"extra":{"type":"object","propertyNames":{"pattern":"^\\+{0,2}[A-Za-z_][A-Za-z0-9_-]*(\\.[A-Za-z_][A-Za-z0-9_-]*)*$"},` +
		`"additionalProperties":{"type":["string","number","boolean","array","null"]}}}}`
}

// configSchema is for editors: which members a config may have. Which values they
// take, translating says; a section has no type, since its short form passes too.
func configSchema() string {
	return `{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"A training run of verl","type":"object",` + section("")[1:]
}

func section(path string) string {
	var members []string
	for _, name := range below(path) {
		members = append(members, quote(name)+":"+section(sub(path, name)))
	}
	if members == nil || path == "extra.verl" {
		return "{}"
	}
	return `{"additionalProperties":false,"properties":{` + strings.Join(members, ",") + "}}"
}

// known is the path of every member that a config may have.
var known = func() []string {
	list := []string{"backend", "entrypoint", "extra.verl"}
	for _, r := range table {
		list = append(list, r.from)
	}
	for _, s := range silent {
		for _, name := range strings.Fields(s.members) {
			list = append(list, sub(s.section, name))
		}
	}
	return list
}()

// below is what members a section has, or the config where the path is "".
func below(path string) []string {
	var names []string
	for _, p := range known {
		rest, ok := strings.CutPrefix(p, path)
		if path != "" {
			rest, ok = strings.CutPrefix(rest, ".")
		}
		name, _, _ := strings.Cut(rest, ".")
		if ok && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
