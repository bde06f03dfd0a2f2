package json

// An Object writes JSON objects, member by member, at the end of one byte
// slice. It does not notice a member that is written twice. The zero Object
// writes to a fresh slice.
//
//	var o json.Object
//	o.Open()
//	o.String("name", "a \"quoted\" word")
//	o.Raw("input", step.Input)
//	o.Close()
//	text := o.Bytes()
//
// An Object is for one goroutine.
type Object struct {
	buf  []byte
	open int
	// inside is where the outermost open object's members begin.
	inside int
}

// NewObject returns an Object that appends to dst.
func NewObject(dst []byte) Object { return Object{buf: dst} }

// Open begins an object: the outermost one, or an element after [Object.Key].
func (o *Object) Open() {
	o.buf = append(o.buf, '{')
	if o.open == 0 {
		o.inside = len(o.buf)
	}
	o.open++
}

// Close ends the object that was begun last.
func (o *Object) Close() {
	o.buf = append(o.buf, '}')
	o.open--
}

// CloseAll ends every object that is still open.
func (o *Object) CloseAll() {
	for o.open > 0 {
		o.Close()
	}
}

// Bytes returns what has been written. It aliases the Object's own memory
// until the Object is written to again.
func (o *Object) Bytes() []byte { return o.buf }

// Reset forgets what was written and keeps the memory.
func (o *Object) Reset() { o.buf, o.open, o.inside = o.buf[:0], 0, 0 }

// Key writes a member's name; its value must follow, by [Object.Open] or [Object.Value].
func (o *Object) Key(name string) {
	if plainEnd(name, 0) < len(name) {
		o.comma()
		o.buf = append(AppendString(o.buf, name), ':')
		return
	}
	// One step for the usual name: these few bytes are most of what a small
	// signal consists of.
	n := len(o.buf)
	buf := extend(o.buf, len(name)+len(`,"":`))
	// No JSON value ends in an opening brace, so this one is the object's own.
	if buf[n-1] != '{' {
		buf[n] = ','
		n++
	}
	buf[n] = '"'
	copy(buf[n+1:], name)
	n += 1 + len(name)
	buf[n], buf[n+1] = '"', ':'
	o.buf = buf[:n+2]
}

func (o *Object) comma() {
	if o.buf[len(o.buf)-1] != '{' {
		o.buf = append(o.buf, ',')
	}
}

// Written returns the members that the outermost open object has so far, as
// they stand between its braces. What is written later leaves them as they
// are; [Object.Reset] does not.
func (o *Object) Written() []byte { return o.buf[o.inside:] }

// Members writes members as [Object.Written] gave them, from this Object or another.
func (o *Object) Members(text []byte) {
	if len(text) == 0 {
		return
	}
	o.comma()
	o.buf = append(o.buf, text...)
}

// Value writes text, which must be one JSON text, as it is.
func (o *Object) Value(text string) { o.buf = append(o.buf, text...) }

// Raw writes a member whose value is text, one JSON text, as it is.
func (o *Object) Raw(name, text string) {
	o.Key(name)
	o.Value(text)
}

// String writes a member whose value is a string.
func (o *Object) String(name, s string) {
	o.Key(name)
	o.buf = AppendString(o.buf, s)
}

// Float writes a member whose value is a number; see [AppendFloat].
func (o *Object) Float(name string, f float64) {
	o.Key(name)
	o.buf = AppendFloat(o.buf, f)
}

// Int writes a member whose value is an integer.
func (o *Object) Int(name string, n int64) {
	o.Key(name)
	o.buf = AppendInt(o.buf, n)
}

// Uint writes a member whose value is an unsigned integer.
func (o *Object) Uint(name string, n uint64) {
	o.Key(name)
	o.buf = AppendUint(o.buf, n)
}

// Bool writes a member whose value is true or false.
func (o *Object) Bool(name string, b bool) {
	o.Key(name)
	o.buf = AppendBool(o.buf, b)
}
