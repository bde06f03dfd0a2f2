package meter

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// BenchmarkMetering runs the same work plain, metered, and with wazero's own
// switch, in turns of a few milliseconds, so that what disturbs the machine
// disturbs all three. It reports the ratios of the lower quartiles, which a busy
// machine moves least.
func BenchmarkMetering(b *testing.B) {
	for _, c := range []struct {
		name, function string
		guest          func(testing.TB) []byte
		arg            uint64
	}{
		{"go-map", "map_work", mustGo, 20},
		{"go-json", "json_work", mustGo, 20},
		{"c-tokens", "tokens", mustC, 200_000},
		{"c-sieve", "sieve", mustC, 300_000},
		{"c-tight", "tight", mustC, 1_000_000},
		{"c-fib", "fib", mustC, 24},
		{"c-dispatch", "dispatch", mustC, 200_000},
		{"c-floats", "floats", mustC, 500},
		{"c-copies", "copies", mustC, 10_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			guest := c.guest(b)
			ctx := context.Background()
			plain, _ := load(b, guest, nil, wazero.NewRuntimeConfig())
			metered, _ := load(b, guest, newHost(), wazero.NewRuntimeConfig())
			closing, _ := load(b, guest, nil, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
			cancelled, cancel := context.WithCancel(ctx)
			defer cancel()
			calls := []api.Function{plain.ExportedFunction(c.function), metered.ExportedFunction(c.function), closing.ExportedFunction(c.function)}
			times := make([][]float64, len(calls))
			run := func(i int) float64 {
				with := ctx
				if i == 2 {
					with = cancelled
				}
				start := time.Now()
				if _, err := calls[i].Call(with, c.arg); err != nil {
					b.Fatal(err)
				}
				return float64(time.Since(start))
			}
			for range 3 {
				for i := range calls {
					run(i)
				}
			}
			b.ResetTimer()
			for range b.N {
				for i := range calls {
					times[i] = append(times[i], run(i))
				}
			}
			b.ReportMetric(quartile(times[0]), "plain-ns")
			b.ReportMetric(quartile(times[1])/quartile(times[0]), "ratio")
			b.ReportMetric(quartile(times[2])/quartile(times[0]), "close-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func quartile(times []float64) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/4]
}

func BenchmarkRewrite(b *testing.B) {
	guest := mustGo(b)
	b.SetBytes(int64(len(guest)))
	for range b.N {
		if _, _, err := Rewrite(guest, Config{}); err != nil {
			b.Fatal(err)
		}
	}
}
