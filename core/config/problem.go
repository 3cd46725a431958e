package config

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one mistake in the configuration.
type Problem struct {
	// File is the configuration file as it was named, or "environment".
	File string
	// Line and Column count from 1; 0 when the mistake has no place in a file.
	Line    int
	Column  int
	Message string
}

// String returns file:line:column: message, without the parts that are not known.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Problems are all mistakes that were found, in the order of the file.
type Problems []Problem

// Error implements error: one line a problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders by place, so that a mistake in a value and one in how values fit
// together stand in the order in which the user reads the file.
func (p Problems) sorted() Problems {
	sort.SliceStable(p, func(i, j int) bool {
		if p[i].File != p[j].File {
			return p[i].File > p[j].File // the file before "environment"
		}
		if p[i].Line != p[j].Line {
			return p[i].Line < p[j].Line
		}
		return p[i].Column < p[j].Column
	})
	return p
}

// suggest returns `, did you mean "x"?` for the candidate that is nearest to word,
// or "" when none is near.
func suggest(word string, candidates []string) string {
	if len(word) > 64 {
		return "" // no slip of the finger; and the distance is quadratic
	}
	best, distance := "", 1+min(2, len(word)/2)
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), c); d < distance {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// editDistance counts insertions, deletions, substitutions and swaps of
// neighbours (optimal string alignment): "prot" is one step from "port".
func editDistance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
