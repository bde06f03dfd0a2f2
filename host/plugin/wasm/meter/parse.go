package meter

import (
	"bytes"
	"fmt"
	"strings"
)

// Section ids: https://www.w3.org/TR/wasm-core-2/#sections
const (
	secCustom    = 0
	secType      = 1
	secImport    = 2
	secFunction  = 3
	secTable     = 4
	secMemory    = 5
	secGlobal    = 6
	secExport    = 7
	secStart     = 8
	secElement   = 9
	secCode      = 10
	secData      = 11
	secDataCount = 12
)

// sectionOrder gives each section its place; the format wants the data count
// before the code.
var sectionOrder = [...]int{secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6,
	secExport: 7, secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12}

var sectionNames = [...]string{"a custom section", "the type section", "the import section", "the function section",
	"the table section", "the memory section", "the global section", "the export section", "the start section",
	"the element section", "the code section", "the data section", "the data count section"}

type signature struct{ params, results []byte } // value types

func (s signature) String() string {
	list := func(types []byte) string {
		words := make([]string, len(types))
		for i, t := range types {
			words[i] = typeName(t)
		}
		return "(" + strings.Join(words, " ") + ")"
	}
	return list(s.params) + " -> " + list(s.results)
}

func typeName(t byte) string {
	switch t {
	case typeI32:
		return "i32"
	case typeI64:
		return "i64"
	case typeF32:
		return "f32"
	case typeF64:
		return "f64"
	case typeV128:
		return "v128"
	case typeFuncref:
		return "funcref"
	default:
		return "externref"
	}
}

// fixup is a function index within a section.
type fixup struct {
	at, end uint32 // bytes of the section's content
	index   uint32
}

// section is a known section: its content and the function indexes in it.
type section struct {
	present bool
	content []byte
	base    int // offset of content in the module
	count   int // items of its vector
	items   int // offset of the first item in content
	fixups  []fixup
}

// body is one function's entry of the code section.
type body struct {
	locals   int    // declared, parameters not counted
	declared []byte // the vector of declared locals, as it stands
	groups   int    // its length
	code     []byte // expression, with its end
	base     int    // offset of code in the module
}

type functionName struct {
	index uint32
	name  string
}

// parsed is a module after every check that needs no walk through its code.
type parsed struct {
	info      *Info
	sections  [13]section
	types     []signature
	funcs     []uint32 // type index of each function, imported ones first
	imported  int      // of funcs
	globals   []string // type of each global, imported ones first
	tables    []string // type of each table, imported ones first
	tableSize uint64   // elements of all tables at their start
	memories  []string // type of the memory, if any
	start     int      // function index, or -1
	bodies    []body
	elements  int
	segments  int
	taken     []bool // functions whose reference is taken: they may be called indirectly
	names     []functionName
	name      string // of the module
}

func parse(module []byte) (*parsed, error) {
	if len(module) > maxModule {
		return nil, refuse("has %d bytes; the limit is %d", len(module), maxModule)
	}
	if len(module) < 8 || !bytes.HasPrefix(module, []byte("\x00asm")) {
		return nil, refuse("is not WebAssembly")
	}
	switch preamble := string(module[4:8]); {
	case preamble == "\x0d\x00\x01\x00":
		return nil, refuse("is a component; what can be metered is a core module")
	case preamble != "\x01\x00\x00\x00":
		return nil, refuse("is of an unknown version of WebAssembly: % x", preamble)
	}
	p := &parsed{info: &Info{Size: len(module), MemoryMax: maxPages}, start: -1}
	c := &cursor{b: module, pos: 8, what: "the list of sections"}
	last, named := 0, false
	for !c.done() {
		id := c.byte()
		size := c.u32()
		base := c.pos
		content := c.take(int(size))
		if c.err != nil {
			return nil, c.err
		}
		if int(id) >= len(sectionNames) {
			return nil, refuse("has an unknown section, id %d", id)
		}
		s := &cursor{b: content, base: base, what: sectionNames[id]}
		if id == secCustom {
			if err := p.custom(s, &named); err != nil {
				return nil, err
			}
			continue
		}
		if sectionOrder[id] <= last {
			return nil, refuse("has %s in the wrong place, or twice", sectionNames[id])
		}
		last = sectionOrder[id]
		p.sections[id] = section{present: true, content: content, base: base}
		p.section(s, id)
		if s.err == nil && s.left() != 0 {
			s.fail("%d bytes too many", s.left())
		}
		if s.err != nil {
			return nil, s.err
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	if defined := len(p.funcs) - p.imported; defined != len(p.bodies) {
		return nil, refuse("declares %d functions and has code for %d", defined, len(p.bodies))
	}
	return p, nil
}

func (p *parsed) section(c *cursor, id byte) {
	s := &p.sections[id]
	items := func(limit, size int, what string) int {
		s.count = c.count(limit, size, what)
		s.items = c.pos
		return s.count
	}
	switch id {
	case secType:
		for range items(maxTypes, 3, "types") {
			p.parseType(c)
		}
	case secImport:
		for range items(maxImports, 4, "imports") {
			p.parseImport(c)
		}
	case secFunction:
		for range items(maxFunctions-p.imported, 1, "functions") {
			p.funcs = append(p.funcs, p.typeIndex(c))
		}
	case secTable:
		for range items(maxTables-len(p.tables), 3, "tables") {
			p.tables = append(p.tables, p.parseTable(c))
		}
	case secMemory:
		for range items(1-len(p.memories), 2, "memories") {
			p.parseMemory(c)
		}
	case secGlobal:
		for range items(maxGlobals-len(p.globals), 4, "globals") {
			t := parseGlobalType(c)
			p.constant(c, s)
			p.globals = append(p.globals, t)
		}
	case secExport:
		p.parseExports(c, s, items(maxExports, 3, "exports"))
	case secStart:
		p.start = int(p.funcIndex(c, s))
		p.info.HasStart = true
	case secElement:
		for range items(maxElements, 2, "element segments") {
			p.parseElement(c, s)
		}
	case secDataCount:
		p.segments = int(c.u32())
	case secCode:
		for range items(maxFunctions, 3, "function bodies") {
			p.parseBody(c)
		}
		p.info.Functions = len(p.bodies)
	case secData:
		for range items(maxData, 2, "data segments") {
			p.parseData(c, s)
		}
	}
}

func (p *parsed) parseType(c *cursor) {
	if c.byte() != 0x60 {
		c.fail("a type that is not a function type")
	}
	var sig signature
	for _, list := range []*[]byte{&sig.params, &sig.results} {
		n := c.count(maxValues, 1, "values in one signature")
		from := c.pos
		for range n {
			c.valueType()
		}
		*list = c.b[from:c.pos:c.pos]
	}
	p.types = append(p.types, sig)
}

func (p *parsed) typeIndex(c *cursor) uint32 {
	i := c.u32()
	if c.err == nil && int(i) >= len(p.types) {
		c.fail("no type %d", i)
		return 0
	}
	return i
}

// funcIndex reads a function index that has to be renumbered.
func (p *parsed) funcIndex(c *cursor, s *section) uint32 {
	at := c.pos
	i := c.u32()
	if c.err != nil {
		return 0
	}
	if int(i) >= len(p.funcs) {
		c.fail("no function %d", i)
		return 0
	}
	s.fixups = append(s.fixups, fixup{uint32(at), uint32(c.pos), i})
	return i
}

// take notes that a reference to a function exists.
func (p *parsed) take(function uint32) {
	if p.taken == nil {
		p.taken = make([]bool, len(p.funcs))
	}
	if int(function) < len(p.taken) {
		p.taken[function] = true
	}
}

func (p *parsed) parseImport(c *cursor) {
	imp := Import{Module: c.name(), Name: c.name(), Kind: Kind(c.byte())}
	if c.err != nil {
		return
	}
	if strings.HasPrefix(imp.Module, reservedPrefix) {
		c.err = refuse("imports from %q, a name that is reserved for the meter", imp.Module)
		return
	}
	switch imp.Kind {
	case KindFunc:
		t := p.typeIndex(c)
		if c.err != nil {
			return
		}
		p.funcs = append(p.funcs, t)
		p.imported++
		imp.Type = p.types[t].String()
	case KindTable:
		imp.Type = p.parseTable(c)
		p.tables = append(p.tables, imp.Type)
	case KindMemory:
		p.parseMemory(c)
		if c.err == nil {
			imp.Type = p.memories[0]
		}
		if len(p.memories) > 1 {
			c.fail("more than one memory")
		}
	case KindGlobal:
		imp.Type = parseGlobalType(c)
		p.globals = append(p.globals, imp.Type)
	default:
		c.fail("an import of unknown kind %d", imp.Kind)
	}
	p.info.Imports = append(p.info.Imports, imp)
}

// limits reads a minimum and an optional maximum.
func (c *cursor) limits() (low uint32, high uint32, bounded bool) {
	switch flag := c.byte(); flag {
	case 0:
		return c.u32(), 0, false
	case 1:
		low, high = c.u32(), c.u32()
		if low > high {
			c.fail("a minimum above its maximum")
		}
		return low, high, true
	default:
		c.fail("limits of unknown kind %d", flag)
		return 0, 0, false
	}
}

func (p *parsed) parseTable(c *cursor) string {
	t := c.byte()
	if t != typeFuncref && t != typeExternref {
		c.fail("0x%x is not a reference type", t)
	}
	low, high, bounded := c.limits()
	if p.tableSize += uint64(low); c.err == nil && p.tableSize > maxTableSize {
		c.err = refuse("has tables of %d elements; the limit is %d", p.tableSize, maxTableSize)
	}
	if bounded {
		return fmt.Sprintf("%s %d %d", typeName(t), low, high)
	}
	return fmt.Sprintf("%s %d", typeName(t), low)
}

func (p *parsed) parseMemory(c *cursor) {
	low, high, bounded := c.limits()
	if low > maxPages || high > maxPages {
		c.fail("a memory of more than %d pages", maxPages)
	}
	text := fmt.Sprint(low)
	p.info.HasMemory, p.info.MemoryMin = true, low
	if bounded {
		p.info.MemoryMax = high
		text = fmt.Sprint(low, high)
	}
	p.memories = append(p.memories, text)
}

func parseGlobalType(c *cursor) string {
	t := typeName(c.valueType())
	switch mutable := c.byte(); mutable {
	case 0:
	case 1:
		t = "mut " + t
	default:
		c.fail("unknown mutability %d", mutable)
	}
	return t
}

// constant reads an initializer: one constant instruction and an end.
func (p *parsed) constant(c *cursor, s *section) {
	at := c.pos
	in, _ := c.instr()
	switch in.op {
	case opI32Const, opI64Const, 0x43, 0x44, 0xd0, prefixVector<<8 | 0x0c:
	case opGlobalGet:
		if int(in.arg) >= len(p.globals) {
			c.fail("no global %d", in.arg)
		}
	case opRefFunc:
		c.pos = at + 1
		p.take(p.funcIndex(c, s))
	default:
		c.fail("an initializer that is not constant")
	}
	if c.byte() != byte(opEnd) {
		c.fail("an initializer of more than one instruction")
	}
}

func (p *parsed) parseExports(c *cursor, s *section, n int) {
	seen := make(map[string]bool, n)
	for range n {
		e := Export{Name: c.name(), Kind: Kind(c.byte())}
		var list []string
		switch e.Kind {
		case KindFunc:
			if f := p.funcIndex(c, s); c.err == nil {
				e.Type = p.types[p.funcs[f]].String()
			}
		case KindTable:
			list = p.tables
		case KindMemory:
			list = p.memories
		case KindGlobal:
			list = p.globals
		default:
			c.fail("an export of unknown kind %d", e.Kind)
		}
		if e.Kind != KindFunc {
			i := c.u32()
			if c.err == nil && int(i) >= len(list) {
				c.fail("no %s %d", e.Kind, i)
			}
			if c.err == nil {
				e.Type = list[i]
			}
		}
		if c.err == nil && seen[e.Name] {
			c.err = refuse("exports %q twice", e.Name)
		}
		if c.err == nil && strings.HasPrefix(e.Name, reservedPrefix) {
			c.err = refuse("exports %q, a name that is reserved for the meter", e.Name)
		}
		if c.err != nil {
			return
		}
		seen[e.Name] = true
		p.info.Exports = append(p.info.Exports, e)
	}
}

// parseElement reads an element segment; bit 0 of its flag means passive or
// declarative, bit 1 an explicit table or declarative, bit 2 expressions.
func (p *parsed) parseElement(c *cursor, s *section) {
	flag := c.u32()
	if flag > 7 {
		c.fail("an element segment of unknown kind %d", flag)
		return
	}
	if flag&1 == 0 {
		if flag&2 != 0 {
			c.u32() // table
		}
		p.constant(c, s)
	}
	if flag&3 != 0 {
		if t := c.byte(); flag&4 == 0 && t != 0 || flag&4 != 0 && t != typeFuncref && t != typeExternref {
			c.fail("elements of unknown type 0x%x", t)
		}
	}
	n := c.count(maxSegmentElements-p.elements, 1, "elements of segments")
	p.elements += n
	for range n {
		if c.err != nil {
			return
		}
		if flag&4 != 0 {
			p.constant(c, s)
		} else {
			p.take(p.funcIndex(c, s))
		}
	}
}

func (p *parsed) parseData(c *cursor, s *section) {
	switch flag := c.u32(); flag {
	case 0:
		p.constant(c, s)
	case 1:
	case 2:
		c.zero()
		p.constant(c, s)
	default:
		c.fail("a data segment of unknown kind %d", flag)
	}
	c.take(int(c.u32()))
}

func (p *parsed) parseBody(c *cursor) {
	function := p.imported + len(p.bodies)
	if function >= len(p.funcs) {
		c.fail("code without a function")
		return
	}
	size := int(c.u32())
	if c.err == nil && size > maxBody {
		c.err = refuse("has a function of %d bytes, number %d; the limit is %d", size, function, maxBody)
	}
	base := c.base + c.pos
	b := &cursor{b: c.take(size), base: base, what: c.what}
	if c.err != nil {
		return
	}
	groups := b.count(maxLocals, 2, "groups of locals in one function")
	from := b.pos
	locals := uint64(len(p.types[p.funcs[function]].params))
	params := int(locals)
	for range groups {
		locals += uint64(b.u32())
		b.valueType()
	}
	if b.err == nil && locals > maxLocals {
		b.err = refuse("has a function with %d locals, number %d; the limit is %d", locals, function, maxLocals)
	}
	if b.err == nil && b.left() == 0 {
		b.fail("a function without an end")
	}
	if b.err != nil {
		c.err = b.err
		return
	}
	p.bodies = append(p.bodies, body{
		locals: int(locals) - params, declared: b.b[from:b.pos], groups: groups,
		code: b.b[b.pos:], base: b.base + b.pos,
	})
	p.info.CodeBytes += b.left()
}

// custom reads a custom section. Of its content only the names of module and
// functions are kept: the others speak of offsets in code that changes.
func (p *parsed) custom(c *cursor, named *bool) error {
	name := c.name()
	if c.err != nil {
		return c.err
	}
	if len(p.info.Customs) == maxCustoms {
		return refuse("has more than %d custom sections", maxCustoms)
	}
	p.info.Customs = append(p.info.Customs, Custom{name, c.left()})
	if name != "name" {
		return nil
	}
	if *named {
		return refuse("has two name sections")
	}
	*named = true
	c.what = "the name section"
	for !c.done() {
		id := c.byte()
		sub := &cursor{base: c.base, what: c.what}
		size := int(c.u32())
		sub.base += c.pos
		sub.b = c.take(size)
		if c.err != nil {
			break
		}
		switch id {
		case 0:
			p.name = sub.name()
		case 1:
			for range sub.count(maxFunctions, 2, "function names") {
				if index, name := sub.u32(), sub.name(); sub.err == nil {
					p.names = append(p.names, functionName{index, name})
				}
			}
		case 2: // names of locals: checked, as wazero would, and dropped
			for range sub.count(maxFunctions, 2, "functions with named locals") {
				sub.u32()
				for range sub.count(maxModule, 2, "names of locals") {
					sub.u32()
					sub.name()
				}
			}
		default:
			continue
		}
		if sub.err == nil && sub.left() != 0 {
			sub.fail("%d bytes too many", sub.left())
		}
		if sub.err != nil {
			return sub.err
		}
	}
	return c.err
}
