package json

import (
	stdjson "encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseRefuses(t *testing.T) {
	for text, offset := range map[string]int{
		``:                 0,
		` `:                1,
		`{`:                1,
		`{"a"`:             4,
		`{"a":`:            5,
		`{"a":1`:           6,
		`{"a":1,`:          7,
		`{"a":1,}`:         7,
		`{a:1}`:            1,
		`{"a" 1}`:          5,
		`[1,]`:             3,
		`[1 2]`:            3,
		`[`:                1,
		`01`:               1,
		`-`:                0,
		`+1`:               0,
		`.5`:               0,
		`1.`:               0,
		`1e`:               0,
		`1e+`:              0,
		`0x1`:              1,
		`NaN`:              0,
		`nul`:              0,
		`truE`:             0,
		`"`:                1,
		`"\`:               1,
		`"\x"`:             1,
		`"\u12"`:           1,
		`"\u12g4"`:         1,
		`"\ud800"`:         1,
		`"\ud800\u0041"`:   1,
		`"\ud800\ud800"`:   1,
		`"\udc00"`:         1,
		`"\ud800\u"`:       1,
		"\"a\nb\"":         2,
		"\"\xff\"":         1,
		"\"\xed\xa0\x80\"": 1,
		`1 2`:              2,
		`{} x`:             3,
		"\ufeff{}":         0,
		"1\x00":            1,
	} {
		v, err := Parse(text)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || v.Kind() != Absent {
			t.Errorf("Parse(%q) = %q, %v", text, v.Text(), err)
		} else if syntax.Offset != offset {
			t.Errorf("Parse(%q) fails at %d, want %d (%v)", text, syntax.Offset, offset, err)
		}
	}
	for _, open := range []string{"[", `{"a":`} {
		at := strings.Repeat(open, MaxDepth)
		end := "1" + strings.Repeat(map[string]string{"[": "]", `{"a":`: "}"}[open], MaxDepth)
		if _, err := Parse(at + end); err != nil {
			t.Errorf("%d levels of %s: %v", MaxDepth, open, err)
		}
		if _, err := Parse(open + at + end); err == nil {
			t.Errorf("%d levels of %s were accepted", MaxDepth+1, open)
		}
		if _, err := Parse(strings.Repeat(open, 1<<20)); err == nil {
			t.Errorf("a million levels of %s were accepted", open)
		}
	}
}

func TestValue(t *testing.T) {
	v, err := Parse(" {\"a\" : [ 1 , -2.5e1, true,false ,null, \"x\\n\\u00fc\\ud83d\\ude00\\/\", {} ] ,\"\\u0062\":{},\t\"c\":9223372036854775808}\r\n ")
	if err != nil {
		t.Fatal(err)
	}
	var got [4]Value
	if err := v.Pick([]string{"a", "b", "c", "d"}, got[:]); err != nil {
		t.Fatal(err)
	}
	if got[3].Kind() != Absent || got[1].Kind() != Obj || got[1].Text() != "{}" {
		t.Errorf("picked %v", got)
	}
	var list []Value
	for e := range got[0].Elements() {
		list = append(list, e)
	}
	kinds := []Kind{Number, Number, Bool, Bool, Null, String, Obj}
	if len(list) != len(kinds) {
		t.Fatalf("%d elements, want %d", len(list), len(kinds))
	}
	for i, k := range kinds {
		if list[i].Kind() != k {
			t.Errorf("element %d is %v, want %v", i, list[i].Kind(), k)
		}
	}
	if n, ok := list[0].Int(); n != 1 || !ok {
		t.Errorf("Int() = %d, %v", n, ok)
	}
	if f, ok := list[1].Float(); f != -25 || !ok {
		t.Errorf("Float() = %v, %v", f, ok)
	}
	if _, ok := list[1].Int(); ok {
		t.Error("a fraction was read as an integer")
	}
	if _, ok := got[2].Int(); ok {
		t.Error("2^63 was read as an int64")
	}
	if b, ok := list[2].Bool(); !b || !ok {
		t.Errorf("Bool() = %v, %v", b, ok)
	}
	if s, ok := list[5].Str(); s != "x\nü😀/" || !ok {
		t.Errorf("Str() = %q, %v", s, ok)
	}
	if _, ok := list[4].Str(); ok {
		t.Error("null was read as a string")
	}
	for range list[0].Elements() {
		t.Error("a number has elements")
	}
	for range list[0].Members() {
		t.Error("a number has members")
	}
	if err := list[0].Pick(nil, nil); err == nil {
		t.Error("a number was picked from")
	}
}

func TestParseLine(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"a":[1, 2]}`:   true,
		" {} \t":         true,
		`{"a":"\n\r"}`:   true,
		"{}\n":           false,
		"\n{}":           false,
		"{}\r":           false,
		"{\"a\"\n:1}":    false,
		"{\"a\":\r1}":    false,
		"{\"a\":1\n}":    false,
		"[1,\n2]":        false,
		"{\"a\":\"\n\"}": false,
	} {
		if _, err := ParseLine(text); (err == nil) != ok {
			t.Errorf("ParseLine(%q): %v", text, err)
		}
	}
}

func TestPickRefusesDoubles(t *testing.T) {
	var one [1]Value
	for text, wrong := range map[string]bool{
		`{"a":1}`:                 false,
		`{"a":1,"b":2,"b":3}`:     false, // nobody asked for b
		`{"a":1,"a":1}`:           true,
		`{"a":1,"\u0061":2}`:      true,
		`{"a":null,"a":null}`:     true,
		`{"b":{"a":1},"a":{}}`:    false,
		`{"b":[{"a":1}],"aa":{}}`: false,
	} {
		v, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Pick([]string{"a"}, one[:]); (err != nil) != wrong {
			t.Errorf("Pick from %s: %v", text, err)
		}
	}
}

func TestOnly(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                 "",
		`{"url":1,"path":2}`: "",
		`{"urls":1}`:         `unknown member "urls"; known are url, path`,
		`[]`:                 "an object is wanted, and this is an array",
		`{"` + strings.Repeat("é", 100) + `":1}`: `unknown member "` + strings.Repeat("é", 32) + `…"; known are url, path`,
	} {
		v, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := v.Only("url", "path"); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Only on %s: %q, want %q", text, got, want)
		}
	}
}

// plain turns a Value into what the standard library would make of it.
func plain(v Value) any {
	switch v.Kind() {
	case Obj:
		m := map[string]any{}
		for name, member := range v.Members() {
			m[name] = plain(member)
		}
		return m
	case Array:
		l := []any{}
		for e := range v.Elements() {
			l = append(l, plain(e))
		}
		return l
	case String:
		s, _ := v.Str()
		return s
	case Bool:
		b, _ := v.Bool()
		return b
	case Number:
		return stdjson.Number(v.Text())
	}
	return nil
}

// FuzzParse holds Parse against encoding/json: what one accepts the other
// accepts, with the same meaning, but for the three cases where this package
// is stricter: bytes that are not UTF-8, half surrogate pairs, and depth.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"results":[{"id":"a","status":"accepted"},{"id":"b","status":"rejected","reason":"x\u00e9"}]}`,
		`[]`, `{}`, `[1,-0.5e+3,true,false,null,"\ud83d\ude00\b\f"]`, ` { "a" : [ { } ] } `, `"\ud800"`, "\"\xff\"", `{"a":1,"a":2}`,
		`[[[[[[]]]]]]`, `01`, `1e5`, `"\u0000"`, "\x00",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := Parse(text)
		std := stdjson.Valid([]byte(text))
		if err != nil {
			opens := strings.Count(text, "[") + strings.Count(text, "{")
			stricter := !utf8.ValidString(text) || strings.Contains(strings.ToLower(text), `\ud`) || opens > MaxDepth
			if std && !stricter {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if !std {
			t.Fatalf("%q is not JSON and was accepted", text)
		}
		line, err := ParseLine(text)
		if hasEnd := strings.ContainsAny(text, "\r\n"); hasEnd != (err != nil) || !hasEnd && line != v {
			t.Fatalf("as a line %q gave %q, %v", text, line.Text(), err)
		}
		var want any
		d := stdjson.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := plain(v); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q means %v, was read as %v", text, want, got)
		}
		if n, ok := v.Int(); ok && strconv.FormatInt(n, 10) != v.Text() && v.Text() != "-0" {
			t.Fatalf("%q was read as the integer %d", text, n)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, content := range map[string]string{
		"plain":   strings.Repeat("The quick brown fox jumps over the lazy dog. ", 40),
		"escaped": strings.Repeat(`for i := range n {\n\tfmt.Println(\"x\")\n}\n`, 40),
		"unicode": strings.Repeat("Größe und Übermaß, naïveté — 你好 ", 40),
	} {
		text := `{"specversion":"1.0","id":"0123","type":"interaction.created","data":{"output":{"text":"` + content + `"},"phi":0.25}}`
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
