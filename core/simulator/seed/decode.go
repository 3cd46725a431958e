package seed

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Problem is one mistake in a file.
type Problem struct {
	File string
	// Line and Column count from 1.
	Line, Column int
	Message      string
}

// String returns file:line:column: message.
func (p Problem) String() string {
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

// maxNodes bounds what is read, aliases followed: a short file can name billions.
const maxNodes = 100_000

// decoder writes a YAML tree into structs, and goes on after a mistake: yaml.v3's own
// strict mode stops at some, and knows no columns.
type decoder struct {
	file     string
	problems Problems
	places   map[string]*yaml.Node // where each value stands, by path: phones[1].number
	nodes    int
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, n.Line, n.Column, fmt.Sprintf(format, args...)})
}

// at is [decoder.problem] for a path, or what is around it.
func (d *decoder) at(path, format string, args ...any) {
	for ; d.places[path] == nil; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
	}
	d.problem(d.places[path], format, args...)
}

// sorted returns the problems in the order of the file, or nil.
func (d *decoder) sorted() error {
	if len(d.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return d.problems
}

func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	if d.nodes++; d.nodes >= maxNodes { // an alias in itself, too
		if d.nodes == maxNodes {
			d.problem(n, "the file is too large: more than %d values", maxNodes)
		}
		return
	}
	d.places[path] = n
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Struct && !isText(v):
		d.object(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	case v.Kind() == reflect.Map:
		d.texts(n, v, path)
	default:
		d.scalar(n, v)
	}
}

func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "expected keys and values, not %s", describe(n))
		return
	}
	fields, names := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		index, known := fields[key.Value]
		switch line := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode || !known:
			d.problem(key, "unknown field %q: the fields here are %s", key.Value, strings.Join(names, ", "))
		case line > 0:
			d.problem(key, "field %q is given twice, first in line %d", key.Value, line)
		default:
			seen[key.Value] = key.Line
			d.decode(value, v.Field(index), strings.TrimPrefix(path+"."+key.Value, "."))
		}
	}
}

// fieldsOf maps what the yaml tags, or else the json tags, name to the fields.
func fieldsOf(t reflect.Type) (byName map[string]int, names []string) {
	byName = map[string]int{}
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("yaml")
		if tag == "" {
			tag = t.Field(i).Tag.Get("json")
		}
		if name, _, _ := strings.Cut(tag, ","); name != "" && name != "-" {
			byName[name] = i
			names = append(names, name)
		}
	}
	return byName, names
}

// texts reads names and texts.
func (d *decoder) texts(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "expected names and texts, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(n.Content[i+1], value, path+"."+n.Content[i].Value)
		v.SetMapIndex(reflect.ValueOf(n.Content[i].Value), value)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, "expected a list, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		if item.Kind == yaml.ScalarNode && item.ShortTag() == "!!null" {
			d.problem(item, "empty entry in a list")
			continue
		}
		d.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// scalar reads texts, numbers, booleans and durations. A text takes any scalar as it is
// written, so that a phone number needs no quotes.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value) {
	want := "text"
	switch v.Kind() {
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		want = "a whole number"
	case reflect.Float64:
		want = "a number"
	}
	_, duration := v.Interface().(time.Duration)
	if duration {
		want = "a duration such as 500ms"
	}
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "expected %s, not %s", want, describe(n))
		return
	}
	var err error
	text, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText:
		if err = text.UnmarshalText([]byte(n.Value)); err != nil {
			d.problem(n, "%q: %v", n.Value, err)
			return
		}
	case v.Kind() == reflect.String:
		v.SetString(n.Value)
	case duration:
		var length time.Duration
		length, err = time.ParseDuration(n.Value)
		v.SetInt(int64(length))
	case v.CanInt() || v.CanUint():
		err = n.Decode(v.Addr().Interface())
		if err == nil && n.ShortTag() != "!!int" { // yaml.v3 cuts 1.9 to 1
			err = errors.New("no integer")
		}
	default:
		err = n.Decode(v.Addr().Interface())
	}
	if err != nil {
		d.problem(n, "expected %s, not %s", want, describe(n))
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}
