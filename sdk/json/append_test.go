package json

import (
	stdjson "encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                       `""`,
		"plain":                  `"plain"`,
		"a\"b\\c/d":              `"a\"b\\c/d"`,
		"\x00\x1f\n\r\t\b\f\x7f": `"\u0000\u001f\n\r\t\u0008\u000c` + "\x7f\"",
		"ü€😀\u2028":              "\"ü€😀\u2028\"",
		"\xffa\xc3":              "\"\ufffda\ufffd\"",
		"\xed\xa0\x80":           "\"\ufffd\ufffd\ufffd\"",
	} {
		if got := string(AppendString([]byte("x"), in)); got != "x"+want {
			t.Errorf("AppendString(%q) = %s, want %s", in, got[1:], want)
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for _, f := range []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, -0.5, 1.0 / 3, 1e-6, 9.99e-7, 1e-7, 1.5e-10, 1e20, 1e21, -1.25e300,
		123456789.123456, 999999999.999999, 1e9, 1234567890.5, 0.000001, 0.0000015, 0.30000000000000004, 100, 812.5,
		math.MaxFloat64, math.SmallestNonzeroFloat64, 5e-324, 1 << 53, 4503599627370497.5,
	} {
		checkFloat(t, f)
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := string(AppendFloat(nil, f)); got != "null" {
			t.Errorf("AppendFloat(%v) = %s, want null", f, got)
		}
	}
}

// checkFloat takes the standard library as the judge: the same text, byte for byte.
func checkFloat(t *testing.T, f float64) {
	t.Helper()
	want, err := stdjson.Marshal(f)
	if err != nil {
		return // NaN and the infinities
	}
	if got := string(AppendFloat(nil, f)); got != string(want) {
		t.Errorf("AppendFloat(%x) = %s, want %s", f, got, want)
	}
}

func TestObject(t *testing.T) {
	o := NewObject([]byte(`[`))
	o.Open()
	o.String("s", "a\n")
	o.Int("i", -3)
	o.Uint("u", math.MaxUint64)
	o.Bool("b", true)
	o.Float("f", 0.25)
	o.Raw("r", `{"x":[]}`)
	o.Key("o")
	o.Open()
	o.Close()
	o.Key("p")
	o.Open()
	o.Raw("q\"", "{}")
	o.Raw("ü", "1")
	shared := string(o.Written())
	o.CloseAll()
	want := `[{"s":"a\n","i":-3,"u":18446744073709551615,"b":true,"f":0.25,"r":{"x":[]},"o":{},"p":{"q\"":{},"ü":1}}`
	if got := string(o.Bytes()); got != want {
		t.Errorf("wrote\n%s, want\n%s", got, want)
	}
	if want := want[2 : len(want)-2]; shared != want {
		t.Errorf("Written gave %s, want %s", shared, want)
	}

	var p Object
	p.Open()
	p.Members(nil)
	p.Members([]byte(`"a":1`))
	p.Members([]byte(`"b":{}`))
	p.Close()
	if got := string(p.Bytes()); got != `{"a":1,"b":{}}` {
		t.Errorf("Members wrote %s", got)
	}
	p.Reset()
	p.Open()
	p.Close()
	if got := string(p.Bytes()); got != `{}` {
		t.Errorf("after Reset: %s", got)
	}
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\x00\n", "\xff\xfe", "ü\u2028😀", "\xed\xa0\x80x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := string(AppendString(nil, s))
		var std string
		if err := stdjson.Unmarshal([]byte(text), &std); err != nil {
			t.Fatalf("%q became %s: %v", s, text, err)
		}
		v, err := Parse(text)
		if err != nil {
			t.Fatalf("%q became %s: %v", s, text, err)
		}
		got, ok := v.Str()
		if want := strings.ToValidUTF8(s, "\ufffd"); !ok || utf8.ValidString(s) && got != want || got != std {
			t.Fatalf("%q came back as %q, by the standard library as %q", s, got, std)
		}
		var o Object
		o.Open()
		o.String(s, s)
		o.Close()
		if v, err := Parse(string(o.Bytes())); err != nil || v.Kind() != Obj {
			t.Fatalf("as a member's name %q became %s: %v", s, o.Bytes(), err)
		}
	})
}

func FuzzAppendFloat(f *testing.F) {
	for _, x := range []float64{0, 0.1, 812.5, 1e-7, 1e21, 999999999.999999, 0.0000005, 123456.7890125} {
		f.Add(math.Float64bits(x), int64(x*1000), uint8(3))
	}
	f.Fuzz(func(t *testing.T, bits uint64, digits int64, point uint8) {
		checkFloat(t, math.Float64frombits(bits))
		// A decimal of some digits, as measurements are written.
		if x, err := strconv.ParseFloat(strconv.FormatInt(digits, 10)+"e-"+strconv.Itoa(int(point%20)), 64); err == nil {
			checkFloat(t, x)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for name, f := range map[string]func([]byte) []byte{
		"string": func(d []byte) []byte { return AppendString(d, "bafa2a6ba9dd1f91f8d32b15245347e6") },
		"short":  func(d []byte) []byte { return AppendFloat(d, 0.6125) },
		"long":   func(d []byte) []byte { return AppendFloat(d, 0.6125000000000123) },
	} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			for b.Loop() {
				dst = f(dst[:0])
			}
		})
	}
}
