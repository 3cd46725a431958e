// Package seed fills a sandbox from a YAML file: numbers, names, groups, phones that
// answer by themselves.
//
// It owns the file's format and its strict reading, all mistakes at once with their places.
// What it makes is the simulator's own; it keeps nothing.
package seed

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/wildcathub/wildcat/core/simulator"
)

// Seed is what a file says.
type Seed struct {
	Phones []Phone `yaml:"phones"`
	Groups []Group `yaml:"groups"`
	// Faults are in force from the start; see docs/sandbox.md. They are not kept over a
	// restart, but this file may be.
	Faults []simulator.Fault `yaml:"faults"`

	dir string // of the file; pictures are named from there
}

// Phone is a number and the phone that owns it.
type Phone struct {
	// Number is 5 to 15 digits, with or without a plus.
	Number string `yaml:"number"`
	// Name is what the phone calls itself.
	Name string `yaml:"name"`
	// About is the line under the name.
	About string `yaml:"about"`
	// Picture is a JPEG file, named from the folder of this one.
	Picture string `yaml:"picture"`
	// Business makes the account one.
	Business *simulator.Business `yaml:"business"`
	// Contacts are in the phone's address book, which its companions get.
	Contacts []Contact `yaml:"contacts"`
	// Replies are the texts that the phone answers by itself; the first pattern that matches counts.
	Replies []Reply `yaml:"replies"`
}

// Contact is an entry of an address book.
type Contact struct {
	Number string `yaml:"number"`
	Name   string `yaml:"name"`
}

// Group is a group: the one that the owner made under the subject.
type Group struct {
	Subject     string   `yaml:"subject"`
	Description string   `yaml:"description"`
	Owner       string   `yaml:"owner"`
	Members     []string `yaml:"members"`
	Admins      []string `yaml:"admins"`
}

// Reply is one automatic answer.
type Reply struct {
	// Pattern is a regular expression in Go's syntax, somewhere in the text.
	Pattern string `yaml:"pattern"`
	// Reply is the answer; $1 or ${name} stands for what a group of the pattern found, $0
	// for all of it, $$ for a dollar sign.
	Reply string `yaml:"reply"`
}

// Load reads a file. All mistakes are returned together, as [Problems].
func Load(path string) (*Seed, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read seed: %w", err)
	}
	s, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	return s, nil
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxProblem is what yaml.v3 says of a text that is no YAML, with its line. It names that of the
// list or mapping around a mistake, or none; the mistake is in the first line from there
// on with which the text is no longer YAML, for the same reason.
func syntaxProblem(path string, data []byte, err error) error {
	split := func(err error) (line int, message string) {
		m := syntaxLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
		if m == nil {
			return 0, err.Error()
		}
		line, _ = strconv.Atoi(m[1])
		return max(line, 1), m[2]
	}
	line, message := split(err)
	if line == 0 {
		return fmt.Errorf("%s: %w", path, err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for k := line; k <= len(lines) && len(data) <= searchedSize; k++ {
		var part yaml.Node
		if err = yaml.Unmarshal(bytes.Join(lines[:k], nil), &part); err == nil {
			continue
		}
		if _, same := split(err); same == message {
			return Problems{{path, k, 1, message}}
		}
	}
	return Problems{{path, line, 1, message}}
}

// searchedSize bounds what is read line by line for a mistake: that takes quadratic time.
const searchedSize = 64 << 10

func parse(path string, data []byte) (*Seed, error) {
	s := &Seed{dir: filepath.Dir(path)}
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := reader.Decode(&doc); errors.Is(err, io.EOF) {
		return s, nil
	} else if err != nil {
		return nil, syntaxProblem(path, data, err)
	}
	d := &decoder{file: path, places: map[string]*yaml.Node{}}
	d.decode(doc.Content[0], reflect.ValueOf(s).Elem(), "")
	if err := reader.Decode(&more); err == nil {
		d.problem(&more, "a second document: want one")
	}
	s.validate(d)
	return s, d.sorted()
}
