package config

import (
	"fmt"
	"sort"
	"strings"
)

// environmentFile stands for the file where a variable is mistaken.
const environmentFile = "environment"

// Problem is one mistake in the configuration.
type Problem struct {
	// File is the configuration file as it was named, or "environment".
	File string
	// Line and Column count from 1; 0 when the mistake has no place in a file.
	Line    int
	Column  int
	Message string
	// Key is the path of the key that it is about, such as "server.port"; "" for the
	// file as a whole. A misspelt key counts as the one that was probably meant, unless
	// that was read all the same.
	Key string
	// read says that the key has a value that can be checked.
	read bool
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

// About says whether one of the problems concerns this key, something in it or
// something around it: whether what the configuration holds there is to be relied on.
func (p Problems) About(path string) bool {
	for _, one := range p {
		if one.Key != "" && (within(one.Key, path) || within(path, one.Key)) {
			return true
		}
	}
	return false
}

// keyed says which key the problems are about, unless that is known more closely.
func (p Problems) keyed(path string) {
	for i := range p {
		if p[i].Key == "" {
			p[i].Key = path
		}
	}
}

// covers says whether this key, or something around it, could not be read.
func (p Problems) covers(path string) bool {
	for _, one := range p {
		if one.Key != "" && !one.read && within(path, one.Key) {
			return true
		}
	}
	return false
}

// within says whether a path is that of the other one or of something in it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Sorted orders by place, so that a mistake in a value and one in how values fit
// together stand in the order in which the user reads the file; what is wrong in the
// environment comes after. It sorts p itself.
func (p Problems) Sorted() Problems {
	sort.SliceStable(p, func(i, j int) bool {
		if a, b := p[i].File == environmentFile, p[j].File == environmentFile; a != b {
			return b
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
	if near := nearest(word, candidates); near != "" {
		return didYouMean(near)
	}
	return ""
}

func didYouMean(word string) string { return fmt.Sprintf(", did you mean %q?", word) }

// nearest returns the candidate that is nearest to word, or "" when none is near.
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return "" // no slip of the finger; and the distance is quadratic
	}
	best, distance := "", 1+min(2, len(word)/2)
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(word), c); d < distance {
			best, distance = c, d
		}
	}
	return best
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
