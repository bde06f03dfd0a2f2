package main

import (
	commandline "flag"
	"os"
	"strings"
	"testing"
)

var update = commandline.Bool("update", false, "write the reference of README.md anew")

// TestReference holds README.md against the table that it is made of.
func TestReference(t *testing.T) {
	const head = "\n## Reference\n"
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(data), head)
	if *update {
		if err := os.WriteFile("README.md", []byte(before+head+reference()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !ok || after != reference() {
		t.Error("README.md is not as the table has it; go test ./plugins/slime -run Reference -update writes it")
	}
}

// reference is the table of all members, for README.md.
func reference() string {
	var out strings.Builder
	for i := range config.sub {
		f := &config.sub[i]
		out.WriteString("\n### " + f.name + "\n\n" + f.doc + "\n")
		if len(f.sub) == 0 || f.name == "extra" {
			continue
		}
		out.WriteString("\n| member | flag | initially | |\n|---|---|---|---|\n")
		f.rows(&out, "")
	}
	out.WriteString("\n### Presets\n\nOf `model.architecture`: `" + strings.Join(presetNames(), "`, `") + "`.\n")
	return out.String()
}

func (f *field) rows(out *strings.Builder, path string) {
	for i := range f.sub {
		m := &f.sub[i]
		flag := ""
		if m.flag != "" {
			flag = "`" + option(m.flag) + "`"
		}
		initial := ""
		if m.initial != "" {
			initial = "`" + strings.Trim(m.initial, `"`) + "`"
		}
		out.WriteString("| `" + path + m.name + "` | " + flag + " | " + initial + " | " + strings.ReplaceAll(m.doc, "|", `\|`) + " |\n")
		m.rows(out, path+m.name+".")
	}
}
