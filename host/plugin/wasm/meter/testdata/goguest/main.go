// Command goguest is a guest for the meter's tests: work of the kind that a
// mapper does, built with the ordinary Go toolchain.
package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"sort"
	"strings"
	"time"
)

type record struct {
	ID      string            `json:"id"`
	Action  string            `json:"action"`
	Phi     *float64          `json:"phi,omitempty"`
	Tags    []string          `json:"tags"`
	Extra   map[string]any    `json:"extra"`
	Labels  map[string]string `json:"labels"`
	Success bool              `json:"success"`
}

const sample = `{"id":"step-0001","action":"run_tests","phi":0.6180339,"tags":["alpha","beta","gamma","delta"],
"extra":{"n":12,"list":[1,2,3,4.5,"x",null,true],"nested":{"a":{"b":{"c":[[],[[]]]}}}},
"labels":{"host":"runner-17","branch":"main","note":"say \"hi\" é \u00e9 ✓"},"success":true}`

// jsonWork decodes and encodes a record, and folds the results into a number.
//
//go:wasmexport json_work
func jsonWork(rounds int32) int64 {
	sum := uint32(0)
	for i := range rounds {
		var r record
		if err := json.Unmarshal([]byte(sample), &r); err != nil {
			panic(err)
		}
		r.ID = fmt.Sprintf("%s-%d", r.ID, i)
		out, err := json.Marshal(&r)
		if err != nil {
			panic(err)
		}
		sum = crc32.Update(sum, crc32.IEEETable, out)
	}
	return int64(sum)
}

// mapWork does what a mapper does without JSON: look up, sort, cut, join.
//
//go:wasmexport map_work
func mapWork(rounds int32) int64 {
	sum := uint32(0)
	for i := range rounds {
		counts := map[string]int{}
		for _, word := range strings.FieldsFunc(sample, func(r rune) bool { return !(r >= 'a' && r <= 'z') }) {
			counts[word] += int(i) + len(word)
		}
		keys := make([]string, 0, len(counts))
		for k := range counts {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			sum = crc32.Update(sum, crc32.IEEETable, fmt.Appendf(nil, "%s=%d,", k, counts[k]))
		}
	}
	return int64(sum)
}

// channelWork makes goroutines wait for each other, which unwinds and resumes
// every frame of their stacks.
//
//go:wasmexport channel_work
func channelWork(rounds int32) int64 {
	ask, answer := make(chan int64), make(chan int64)
	go func() {
		defer close(answer)
		for v := range ask {
			answer <- v*3 + 1
		}
	}()
	sum := int64(0)
	for i := range rounds {
		ask <- int64(i)
		sum += <-answer
	}
	close(ask)
	<-answer
	return sum
}

// recurse nests calls n deep.
//
//go:wasmexport recurse
func recurse(n int32) int64 {
	if n == 0 {
		return 0
	}
	return recurse(n-1) + int64(n)
}

// panics fails inside nested calls and recovers.
//
//go:wasmexport panics
func panics(index int32) (out int64) {
	defer func() {
		if r := recover(); r != nil {
			out = int64(len(fmt.Sprint(r)))
		}
	}()
	list := []int64{1, 2, 3}
	return list[index]
}

// spin never ends.
//
//go:wasmexport spin
func spin() {
	for {
	}
}

// sleep waits.
//
//go:wasmexport sleep
func sleep(ms int32) { time.Sleep(time.Duration(ms) * time.Millisecond) }

func main() {}
