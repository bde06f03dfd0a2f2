// The benchmarks that run whole processes, in a module of their own: what they
// compare carl with must not reach carl's dependency graph.
module carl.camp/carl/host/bench

go 1.26.0
