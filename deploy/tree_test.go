package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// tree is a value of a YAML document, or nil where there is none.
type tree struct{ v any }

// at walks down by keys (string) and places in lists (int).
func (t tree) at(path ...any) tree {
	for _, step := range path {
		switch k := step.(type) {
		case string:
			m, _ := t.v.(map[string]any)
			t = tree{m[k]}
		case int:
			l, _ := t.v.([]any)
			if k >= len(l) {
				return tree{}
			}
			t = tree{l[k]}
		}
	}
	return t
}

func (t tree) is() bool { return t.v != nil }

// text is a scalar as text, "" for anything else.
func (t tree) text() string {
	switch v := t.v.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// list is the elements of a list.
func (t tree) list() []tree {
	l, _ := t.v.([]any)
	out := make([]tree, len(l))
	for i, v := range l {
		out[i] = tree{v}
	}
	return out
}

// texts is the elements of a list as texts, or the keys of a mapping.
func (t tree) texts() []string {
	if m, ok := t.v.(map[string]any); ok {
		return slices.Sorted(maps.Keys(m))
	}
	var out []string
	for _, e := range t.list() {
		out = append(out, e.text())
	}
	return out
}

func (t tree) has(key string) bool {
	m, _ := t.v.(map[string]any)
	_, ok := m[key]
	return ok
}

// fields is a mapping of scalars.
func (t tree) fields() map[string]string {
	out := map[string]string{}
	for _, k := range t.texts() {
		out[k] = t.at(k).text()
	}
	return out
}

// problems is what a check found.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// need adds a problem unless something holds.
func (p *problems) need(holds bool, format string, args ...any) {
	if !holds {
		p.add(format, args...)
	}
}

// documents reads all documents of a file. What cannot be read is a problem.
func documents(files fs.FS, name string, p *problems) []tree {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		p.add("%v", err)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var out []tree
	for {
		var v any
		switch err := dec.Decode(&v); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			p.add("%s: %v", name, err)
			return out
		}
		out = append(out, tree{v})
	}
}
