package step

import (
	"fmt"
	"strings"
)

// hostileLines returns legal lines near the bound of size, each made so that a
// careless reader of it takes time or memory out of proportion.
func hostileLines() map[string][]byte {
	const head = `{"action":"TOOL_CALL","name":"x","input":`
	fill := func(part func(i int) string, open, end string) []byte {
		var b strings.Builder
		b.WriteString(head + open)
		for i := 0; b.Len() < MaxLine-512; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(part(i))
		}
		b.WriteString(end + "}")
		return []byte(b.String())
	}
	depth := MaxDepth - 3
	return map[string][]byte{
		"many members":    fill(func(i int) string { return fmt.Sprintf(`"%d":0`, i) }, "{", "}"),
		"escaped members": fill(func(i int) string { return fmt.Sprintf(`"\u0061%d":0`, i) }, "{", "}"),
		"many objects":    fill(func(int) string { return `{"a":0,"b":1}` }, "[", "]"),
		"deep objects": fill(func(int) string {
			return strings.Repeat(`{"a":`, depth) + "0" + strings.Repeat("}", depth)
		}, "[", "]"),
		"escapes":       []byte(head + `"` + strings.Repeat(`\u00e9`, (MaxLine-64)/6) + `"}`),
		"quotes":        []byte(head + `"` + strings.Repeat(`\"`, (MaxLine-64)/2) + `"}`),
		"wide letters":  []byte(head + `"` + strings.Repeat("語", (MaxLine-64)/3) + `"}`),
		"long number":   []byte(head + strings.Repeat("1", MaxLine-64) + "}"),
		"empty strings": fill(func(int) string { return `""` }, "[", "]"),
		"unknown":       []byte(`{"action":"TOOL_CALL","name":"x",` + strings.Repeat(" ", MaxLine-64) + `"y":0}`),
	}
}
