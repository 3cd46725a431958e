package lua

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/pipeline"
)

// Config is what the operator writes about rules.
type Config struct {
	// Dir is what relative file names are relative to.
	Dir string
	// Rules run in this order.
	Rules []RuleConfig
	// Limits bound every rule; zero fields take their defaults.
	Limits Limits
	// Replies bound what all rules send; the set only carries it to the pipeline.
	Replies pipeline.ReplyLimits
}

// RuleConfig names one Lua file.
type RuleConfig struct {
	// File is absolute or relative to Config.Dir.
	File string
	// Name is the rule's name, part of the ids of what it sends; default: the file's
	// base name without .lua. Renaming a rule makes it another rule.
	Name string
	// Accounts limits the rule to these account ids; empty: all.
	Accounts []string
	// Chats limits the rule to these chats, JIDs or bare numbers; empty: all.
	Chats []string
	// Timeout replaces Limits.Wall for this rule; at most 250 ms.
	Timeout time.Duration
	// OnError is "continue" (default: the event goes on without this rule) or
	// "disable" (the first failure disables the rule until the next reload).
	OnError string
}

// What OnError may say.
const (
	OnErrorContinue = "continue"
	OnErrorDisable  = "disable"
)

// Limits bound one rule's work on one event.
type Limits struct {
	// Instructions of the Lua machine; 100,000, at most 1,000,000.
	Instructions int
	// Wall is the time after which a running rule is stopped at its next look at the
	// clock; 50 ms, at most 250 ms. Short rules never look.
	Wall time.Duration
	// StringBytes is the longest string; 256 KiB.
	StringBytes int
	// MemoryBytes is the sum of all strings made and table gaps filled; 8 MiB.
	MemoryBytes int
	// PatternSteps are the steps of the pattern matcher; 1 Mi.
	PatternSteps int
	// PatternDepth is the deepest recursion of the pattern matcher; 200.
	PatternDepth int
	// Tables is the number of table constructors run; 20,000.
	Tables int
	// CallDepth is the deepest call stack; 128.
	CallDepth int
	// Unpack is the largest number of values that one function returns; 1,000.
	Unpack int
	// SourceBytes is the largest file; 256 KiB.
	SourceBytes int
	// Nesting is the deepest nesting of brackets and blocks in a file; 200.
	Nesting int
	// Actions is the number of replies and sends; 32.
	Actions int
	// LogLines is the number of log lines; 20.
	LogLines int
}

const (
	maxInstructions = 1_000_000
	// maxWall is the hard limit: a rule that is found to have run longer has been
	// stuck in Go code, and its state is thrown away.
	maxWall = 250 * time.Millisecond
	// registrySize and registryMax are the value stack, in values.
	registrySize = 256
	registryMax  = 8192
	// maxArrayIndex is gopher-lua's bound of the array part of a table.
	maxArrayIndex = 1 << 16
	// wearInstructions and wearBytes are how much a state may do before it is built
	// anew: file-level tables that only grow cannot take all memory.
	wearInstructions = 1_000_000
	wearBytes        = 64 << 20
)

// DefaultLimits returns the documented defaults.
func DefaultLimits() Limits {
	return Limits{
		Instructions: 100_000, Wall: 50 * time.Millisecond,
		StringBytes: 256 << 10, MemoryBytes: 8 << 20,
		PatternSteps: 1 << 20, PatternDepth: 200,
		Tables: 20_000, CallDepth: 128, Unpack: 1000,
		SourceBytes: 256 << 10, Nesting: 200, Actions: 32, LogLines: 20,
	}
}

// withDefaults fills zero fields and checks the rest.
func (l Limits) withDefaults() (Limits, error) {
	def := DefaultLimits()
	for _, f := range []struct {
		name      string
		value     *int
		def, most int
	}{
		{"instructions", &l.Instructions, def.Instructions, maxInstructions},
		{"string_bytes", &l.StringBytes, def.StringBytes, def.StringBytes},
		{"memory_bytes", &l.MemoryBytes, def.MemoryBytes, def.MemoryBytes},
		{"pattern_steps", &l.PatternSteps, def.PatternSteps, def.PatternSteps},
		{"pattern_depth", &l.PatternDepth, def.PatternDepth, def.PatternDepth},
		{"tables", &l.Tables, def.Tables, def.Tables},
		{"call_depth", &l.CallDepth, def.CallDepth, def.CallDepth},
		{"unpack", &l.Unpack, def.Unpack, def.Unpack},
		{"source_bytes", &l.SourceBytes, def.SourceBytes, def.SourceBytes},
		{"nesting", &l.Nesting, def.Nesting, def.Nesting},
		{"actions", &l.Actions, def.Actions, def.Actions},
		{"log_lines", &l.LogLines, def.LogLines, def.LogLines},
	} {
		switch {
		case *f.value == 0:
			*f.value = f.def
		case *f.value < 0 || *f.value > f.most:
			return l, fmt.Errorf("rule limit %s: %d is not between 1 and %d", f.name, *f.value, f.most)
		}
	}
	if l.Wall == 0 {
		l.Wall = def.Wall
	}
	if l.Wall < 0 || l.Wall > maxWall {
		return l, fmt.Errorf("rule limit wall: %s is not between 0 and %s", l.Wall, maxWall)
	}
	return l, nil
}

// Deps is what the program passes in. Every field may be left out.
type Deps struct {
	// Logger gets what rules log, and rules that are disabled; default: none.
	Logger *slog.Logger
	// Registerer gets the metrics; default: none. The same one may be passed to
	// every Load.
	Registerer prometheus.Registerer
	// Now is the clock, of the limits too; default time.Now.
	Now func() time.Time
	// Rand returns a number in [0, 1) for math.random; safe for concurrent use.
	Rand func() float64
	// Slots is how many events a rule can work on side by side; default GOMAXPROCS.
	Slots int
}

func (d Deps) withDefaults() Deps {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Rand == nil {
		d.Rand = rand.Float64
	}
	if d.Slots <= 0 {
		d.Slots = runtime.GOMAXPROCS(0)
	}
	return d
}

// path is where the file is; display is how messages name it.
func (c Config) path(r RuleConfig) string {
	if filepath.IsAbs(r.File) || c.Dir == "" {
		return r.File
	}
	return filepath.Join(c.Dir, r.File)
}

func (r RuleConfig) display() string { return filepath.ToSlash(r.File) }

func (r RuleConfig) name() string {
	if r.Name != "" {
		return r.Name
	}
	return strings.TrimSuffix(filepath.Base(r.File), ".lua")
}
