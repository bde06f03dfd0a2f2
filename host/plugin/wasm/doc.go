// Package wasm loads plugins that are core WebAssembly modules and runs them
// confined: it is the only importer of wazero.
//
// A module passes four doors before any of its code runs. [meter.Rewrite]
// holds it against fixed limits and makes it count fuel; wazero validates and
// compiles it, or takes it from the compilation cache; the link check holds
// every import and export against the world that the plugin claims, by name
// and by exact signature; and an instance gets a memory that cannot grow past
// the plugin's limit.
//
// What crosses the border afterwards has the layouts of the Canonical ABI
// (Component Model, CanonicalABI.md), written out by hand for the types of
// wit/plugin.wit:
//
//	step        168/8  id 0, action 8, name 16, time 24, session 32, trace 44, parent 56,
//	                   success 68, duration-ms 72, phi 88, kuramoto-r 104,
//	                   channel-coherence 120, input 132, output 144, metadata 156
//	signal       32/4  step 0, type 4, subject 12, data 24
//	event        48/8  id 0, type 8, subject 16, time 32, body 40
//	outcome      16/4  discriminant 0, payload 4
//	failure      32/8  kind 0, message 4, retry-after-ms 16
//	diagnostic   28/4  path 0, message 8, hint 16
//	translation  32/4  args 0, argv 8, entrypoint 16, warnings 24
//	response     20/4  status 0, headers 4, body 12
//	http.error   12/4  discriminant 0, payload 4
//
// (size/alignment: offsets). A string or list is a pointer and a count; an
// option is a discriminant byte and, at the payload's alignment, the payload.
//
// Nothing that a guest says is trusted. Each pointer is held against the
// memory and its alignment, each count against a bound, each discriminant
// against its cases and each text against UTF-8 before it is used, and what is
// copied for one answer is bounded by a constant, however often the guest
// points at the same bytes. Everything is copied out before the guest runs
// again. An instance that broke a rule, trapped or hit a limit is thrown away.
package wasm
