// Command wildcat-bench measures the hub against floors taken in the same run: a bare
// whatsmeow client, a bare signed POST loop. Absolute numbers of one machine say
// little, ratios hold; every ratio is the median of interleaved pairs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"syscall"

	"github.com/wildcathub/wildcat/core/scenario"
)

// row is one line of bench.json.
type row struct {
	Name string `json:"name"`
	// Ratio is measured / floor; Value stands alone where there is no floor.
	Ratio float64 `json:"ratio,omitempty"`
	Value float64 `json:"value,omitempty"`
	// Floor is the floor's own figure, in Unit.
	Floor float64 `json:"floor,omitempty"`
	Unit  string  `json:"unit"`
	// N is how many pairs or samples the median is of.
	N int `json:"n"`
	// Spread is (maximum − minimum) / median of what the median is of.
	Spread float64 `json:"spread"`
	// Target is what the figure must reach: at least for a ratio.
	Target float64 `json:"target,omitempty"`
	// Most is what the figure must not exceed.
	Most float64 `json:"most,omitempty"`
	Note string  `json:"note,omitempty"`
}

// bench is what the measurements share.
type bench struct {
	dir     string       // of this run, removed at the end
	source  string       // the checkout
	hub     string       // the wildcat binary
	self    string       // this binary, for the bare client
	mongo   *mongoServer // nil: no rows about it
	pairs   int
	verbose bool
}

func (b *bench) logf(format string, args ...any) {
	if b.verbose {
		_, _ = fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func main() {
	if len(os.Args) > 1 {
		if child := map[string]func([]string) error{"bare": runBare, "crowd": runCrowd}[os.Args[1]]; child != nil {
			if err := child(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
				os.Exit(1)
			}
			return
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := flag.String("out", "bench.json", "file to write")
	pairs := flag.Int("pairs", 5, "interleaved pairs a ratio is the median of")
	only := flag.String("only", "", "one measurement: intake, latency, deliver, roundtrips, idle or simulator")
	uri := flag.String("mongo", os.Getenv("MONGODB_URI"), "a MongoDB server to measure on, too; databases named wildcat_test_* are made and dropped")
	verbose := flag.Bool("v", false, "print every sample")
	flag.Parse()
	if err := run(ctx, *out, *uri, *pairs, *only, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "wildcat-bench:", err)
		os.Exit(1) //nolint:gocritic // the signal handler needs no undoing
	}
}

func run(ctx context.Context, out, uri string, pairs int, only string, verbose bool) error {
	source, err := scenario.SourceDir(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wildcat-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, source: source, pairs: pairs, verbose: verbose}
	if b.mongo, err = findMongo(ctx, uri); err != nil {
		return err
	}
	if only != "deliver" && only != "roundtrips" { // which run the parts in this process
		if b.hub, err = scenario.Build(ctx, source, "./cmd/wildcat", filepath.Join(dir, "wildcat")); err != nil {
			return err
		}
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	var rows []row
	for _, m := range []struct {
		name string
		do   func(context.Context) ([]row, error)
	}{{"intake", b.intake}, {"latency", b.latency}, {"deliver", b.deliver}, {"roundtrips", b.roundTrips}, {"idle", b.idle}, {"simulator", b.simulator}} {
		if only != "" && only != m.name {
			continue
		}
		got, err := m.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		rows = append(rows, got...)
		for _, r := range got {
			print1(r)
		}
	}
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644) //nolint:gosec // a report for everyone
}

func print1(r row) {
	figure := fmt.Sprintf("%.2f", r.Value)
	if r.Ratio != 0 {
		figure = fmt.Sprintf("%.2f × %.0f", r.Ratio, r.Floor)
	} else if r.Floor != 0 {
		figure = fmt.Sprintf("%.2f (floor %.2f)", r.Value, r.Floor)
	}
	target := ""
	if r.Target != 0 {
		target = fmt.Sprintf("at least %.2f", r.Target)
	}
	if r.Most != 0 {
		target = fmt.Sprintf("at most %.2f", r.Most)
	}
	fmt.Printf("%-26s %-22s %-16s n=%-5d spread %.2f  %-14s %s\n", r.Name, figure, r.Unit, r.N, r.Spread, target, r.Note)
}

// median sorts a copy.
func median(v []float64) float64 { return quantile(v, 0.5) }

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	at := q * float64(len(s)-1)
	low := int(math.Floor(at))
	if low+1 >= len(s) {
		return s[low]
	}
	return s[low] + (at-float64(low))*(s[low+1]-s[low])
}

func spread(v []float64) float64 {
	m := median(v)
	if m == 0 {
		return 0
	}
	return (quantile(v, 1) - quantile(v, 0)) / m
}
