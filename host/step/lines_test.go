package step

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"carl.camp/carl/host/fault"
)

func minimal(name string) string { return `{"action":"X","name":"` + name + `"}` }

// readAll drains a Decoder: the names of good steps and the errors of bad
// lines, in order, and the final error.
func readAll(d *Decoder) (out []string, final error) {
	for {
		s, err := d.Next()
		switch {
		case err == nil:
			out = append(out, s.Name)
		case fault.CodeOf(err) == fault.StepInvalid:
			var f *fault.Error
			errors.As(err, &f)
			out = append(out, f.Message)
		default:
			return out, err
		}
	}
}

func TestDecoderGoesOnBehindBadLines(t *testing.T) {
	exact := minimal("max")
	exact = exact[:len(exact)-1] + strings.Repeat(" ", MaxLine-len(exact)) + "}"
	long := exact + " "
	input := strings.Join([]string{
		minimal("a"),
		"",
		" \t\r",
		"not json",
		minimal("b") + "\r",
		exact + "\r",
		exact,
		long,
		long + "\r",
		strings.Repeat("x", 3*MaxLine),
		minimal("c"),
		minimal("d") + minimal("e"),
		minimal("last"),
	}, "\n")
	want := []string{
		"a",
		"line 4: not valid JSON, at byte 2",
		"b", "max", "max",
		"line 8: longer than 1048576 bytes",
		"line 9: longer than 1048576 bytes",
		"line 10: longer than 1048576 bytes",
		"c",
		"line 12: something follows the object, at byte 26",
		"last",
	}
	for name, r := range map[string]io.Reader{
		"whole":   strings.NewReader(input),
		"halves":  iotest.HalfReader(strings.NewReader(input)),
		"dataerr": iotest.DataErrReader(strings.NewReader(input)),
		"ended":   strings.NewReader(input + "\n"),
	} {
		var rejects bytes.Buffer
		d := NewDecoder(r)
		d.RejectTo(&rejects)
		got, err := readAll(d)
		if err != io.EOF || !slices.Equal(got, want) {
			t.Errorf("%s: got %.200q and %v, want %q", name, got, err, want)
		}
		if d.Line() != 13 {
			t.Errorf("%s: ended on line %d, want 13", name, d.Line())
		}
		wantRejects := "not json\n" + long + "\n" + long + "\r\n" + strings.Repeat("x", 3*MaxLine) + "\n" + minimal("d") + minimal("e") + "\n"
		if rejects.String() != wantRejects {
			t.Errorf("%s: the rejects are %d bytes, want %d", name, rejects.Len(), len(wantRejects))
		}
		if len(d.buf) > 2*MaxLine {
			t.Errorf("%s: the buffer grew to %d bytes", name, len(d.buf))
		}
	}
}

func TestDecoderByteByByte(t *testing.T) {
	input := minimal("a") + "\r\n\n" + minimal("b") + "\nbad\n" + minimal("c")
	got, err := readAll(NewDecoder(iotest.OneByteReader(strings.NewReader(input))))
	if want := []string{"a", "b", "line 4: not valid JSON, at byte 1", "c"}; err != io.EOF || !slices.Equal(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

func TestDecoderNamesTheByteOrderMark(t *testing.T) {
	got, err := readAll(NewDecoder(strings.NewReader("\xef\xbb\xbf" + minimal("a") + "\n" + minimal("b"))))
	if want := []string{"line 1: begins with a byte order mark, which JSON does not have", "b"}; err != io.EOF || !slices.Equal(got, want) {
		t.Errorf("got %q and %v, want %q", got, err, want)
	}
}

func TestDecoderEndsAtAReadError(t *testing.T) {
	broken := errors.New("the disk is gone")
	d := NewDecoder(io.MultiReader(strings.NewReader(minimal("a")+"\n"+minimal("half")), iotest.ErrReader(broken)))
	got, err := readAll(d)
	if !slices.Equal(got, []string{"a"}) || !errors.Is(err, broken) || fault.CodeOf(err) != fault.IO {
		t.Errorf("got %q and %v", got, err)
	}
	if _, again := d.Next(); !errors.Is(again, broken) {
		t.Errorf("the error is not final: %v", again)
	}
	if _, err := NewDecoder(stuck{}).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestDecoderEndsWhenRejectsCannotBeWritten(t *testing.T) {
	d := NewDecoder(strings.NewReader("bad\n" + minimal("a")))
	r, w := io.Pipe()
	_ = r.CloseWithError(errors.New("full"))
	d.RejectTo(w)
	if _, err := d.Next(); fault.CodeOf(err) != fault.IO || !strings.Contains(err.Error(), "full") {
		t.Errorf("error is %v", err)
	}
}

func TestUnknownMembersAreNamedOnceAndBounded(t *testing.T) {
	var b strings.Builder
	for range 3 {
		b.WriteString(with(`"zeta":1,"alpha":{"inner":2},"z\u0065ta2":3`) + "\n")
	}
	d := NewDecoder(strings.NewReader(b.String()))
	if got, err := readAll(d); err != io.EOF || len(got) != 3 {
		t.Fatalf("got %q and %v", got, err)
	}
	if got, want := d.UnknownMembers(), []string{"alpha", "zeta", "zeta2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	b.Reset()
	for i := range 1000 {
		fmt.Fprintln(&b, with(fmt.Sprintf(`"%s%d":1`, strings.Repeat("語", i%40), i)))
	}
	d = NewDecoder(strings.NewReader(b.String()))
	if got, err := readAll(d); err != io.EOF || len(got) != 1000 {
		t.Fatalf("got %d and %v", len(got), err)
	}
	names := d.UnknownMembers()
	if len(names) != maxUnknown {
		t.Errorf("%d names are kept, want %d", len(names), maxUnknown)
	}
	for _, n := range names {
		if len(n) > maxUnknownName+len("…") || strings.ToValidUTF8(n, "") != n {
			t.Errorf("the name %q is too long or cut in a letter", n)
		}
	}
}
