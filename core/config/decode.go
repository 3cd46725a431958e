package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxNodes bounds how many nodes are visited, aliases followed: a file of a few
// hundred bytes can name billions.
const maxNodes = 100_000

// maxDepth bounds nesting, and so an alias that contains itself.
const maxDepth = 64

// maxProblems bounds what is reported: who feeds a wrong file wants to see that, not its every line.
const maxProblems = 100

var durationType = reflect.TypeFor[time.Duration]()

// place is a line and column of the file.
type place struct{ line, column int }

// decoder writes a YAML tree into a Config. It walks the nodes itself, since
// yaml.v3's own strict mode misses unknown keys below custom types, stops at the
// first mistake of some kinds, and cannot read "port: ${PORT}" as a number.
type decoder struct {
	file     string
	env      func(string) (string, bool)
	problems Problems
	// places is where each key's value stands, keys where the key itself does, by path.
	places, keys map[string]place
	// raw is what was written where a reference was expanded: messages show it in
	// place of the value, which may be a secret.
	raw   map[*yaml.Node]string
	nodes int
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	if d.full() {
		return
	}
	if len(d.problems) == maxProblems-1 {
		format, args = "too many mistakes: the rest is not listed", nil
	}
	d.problems = append(d.problems, Problem{File: d.file, Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) full() bool { return len(d.problems) >= maxProblems }

// keyed says of the problems that came after the first ones which key they are about,
// unless that is known more closely.
func (d *decoder) keyed(first int, path string) { d.problems[first:].keyed(path) }

// enter follows aliases, expands references, notes the place, and says whether there is
// a value to decode: null leaves the default.
func (d *decoder) enter(n *yaml.Node, path string, depth int) (*yaml.Node, bool) {
	d.nodes++
	if d.nodes == maxNodes {
		d.problem(n, "the file is too large: more than %d values", maxNodes)
	}
	if d.nodes >= maxNodes {
		return nil, false
	}
	if depth > maxDepth {
		d.problem(n, "nested too deeply")
		return nil, false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if path != "" && (n.Kind != yaml.ScalarNode || n.ShortTag() != "!!null") {
		d.places[path] = place{n.Line, n.Column}
	}
	if n.Kind != yaml.ScalarNode {
		return n, true
	}
	value, mistakes := expand(n.Value, d.env)
	for _, m := range mistakes {
		d.problem(n, "%s", m)
	}
	if len(mistakes) > 0 {
		return nil, false
	}
	if value != n.Value {
		// A copy, for an alias may come by again. A plain scalar resolves anew,
		// a quoted one stays a string.
		again, raw := *n, n.Value
		again.Value = value
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0 {
			again.Tag = ""
		}
		n = &again
		d.raw[n] = raw
	}
	return n, n.ShortTag() != "!!null"
}

// decode writes a node into v, which holds the default.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string, depth int) {
	defer d.keyed(len(d.problems), path)
	n, ok := d.enter(n, path, depth)
	if !ok {
		return
	}
	if v.Type() == durationType {
		d.duration(n, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		value, before := reflect.New(v.Type().Elem()), len(d.problems)
		d.decode(n, value.Elem(), path, depth+1)
		if len(d.problems) == before { // else the default stays: what it switches off is checked
			v.Set(value)
		}
	case reflect.Struct:
		d.object(n, v, path, depth)
	case reflect.Slice:
		d.list(n, v, path, depth)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			d.problem(n, "expected keys and values, not %s", d.describe(n))
			return
		}
		v.Set(reflect.ValueOf(d.generic(n, path, depth)))
	default:
		d.scalar(n, v)
	}
}

// object decodes into a struct by its yaml tags.
func (d *decoder) object(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.MappingNode {
		d.problem(n, "expected keys and values, not %s", d.describe(n))
		return
	}
	fields := fieldsOf(v.Type())
	pairs, again := d.pairs(n, path)
	taken := make(map[string]bool, len(pairs))
	for _, pair := range pairs {
		taken[pair[0].Value] = true
	}
	for _, pair := range pairs {
		key, value := pair[0], pair[1]
		index, known := fields[key.Value]
		if !known {
			meant, hint := d.hint(key.Value, v.Type())
			about, before := join(path, meant), len(d.problems)
			d.problem(key, "unknown field %q%s", key.Value, hint)
			index, known = fields[meant]
			if known && !taken[meant] && alike(value, v.Field(index).Kind()) {
				taken[meant] = true
				d.decode(value, v.Field(index), about, depth+1) // for the mistakes in it
			}
			if taken[meant] { // there is a value to check, and this one is not it
				about = join(path, key.Value)
			}
			d.problems[before:min(before+1, len(d.problems))].keyed(about)
			continue
		}
		d.decode(value, v.Field(index), join(path, key.Value), depth+1)
	}
	for _, pair := range again { // a section that comes again is read for the mistakes in it
		if index, known := fields[pair[0].Value]; known && v.Field(index).Kind() == reflect.Struct {
			d.decode(pair[1], v.Field(index), join(path, pair[0].Value), depth+1)
		}
	}
}

// alike says whether a node has the shape of a section or list, so that it can be read as
// the one that was probably meant.
func alike(n *yaml.Node, kind reflect.Kind) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch kind {
	case reflect.Struct, reflect.Map:
		return n.Kind == yaml.MappingNode
	case reflect.Slice:
		return n.Kind == yaml.SequenceNode
	default:
		return false
	}
}

// hint suggests a key of this object, or says where in the file this very key belongs.
// meant is the key of this object that was probably meant, or else what was written.
func (d *decoder) hint(key string, t reflect.Type) (meant, text string) {
	names := make([]string, 0, t.NumField())
	for i := range t.NumField() {
		if name := tag(t.Field(i)); name != "" {
			names = append(names, name)
		}
	}
	if d.full() {
		return key, ""
	}
	if near := nearest(key, names); near != "" {
		return near, didYouMean(near)
	}
	for _, distance := range []int{0, 1} {
		if len(key) > 64 {
			break
		}
		for _, known := range Keys() {
			last := known[strings.LastIndexByte(known, '.')+1:]
			if !strings.Contains(known, "[") && editDistance(strings.ToLower(key), last) == distance {
				return key, didYouMean(known)
			}
		}
	}
	return key, ""
}

// pairs returns a mapping's keys and values, without those that are no string, and apart
// from the others those whose key was there before.
func (d *decoder) pairs(n *yaml.Node, path string) (pairs, again [][2]*yaml.Node) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch line, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.problem(key, "a key must be a plain word")
		case key.ShortTag() == "!!merge":
			d.problem(key, "merge keys (<<) are not supported")
		case twice:
			before := len(d.problems)
			d.problem(key, "field %q is given twice, first in line %d", key.Value, line)
			d.keyed(before, join(path, key.Value))
			for i := before; i < len(d.problems); i++ {
				d.problems[i].read = true
			}
			again = append(again, [2]*yaml.Node{key, value})
		default:
			seen[key.Value] = key.Line
			d.keys[join(path, key.Value)] = place{key.Line, key.Column}
			pairs = append(pairs, [2]*yaml.Node{key, value})
		}
	}
	return pairs, again
}

// list decodes into a slice, which replaces the default as a whole.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.problem(n, "expected a list, not %s", d.describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.Kind == yaml.ScalarNode && item.ShortTag() == "!!null" {
			d.places[at] = place{item.Line, item.Column}
			before := len(d.problems)
			d.problem(item, "empty entry in a list")
			d.keyed(before, at)
			continue
		}
		d.decode(item, out.Index(i), at, depth+1)
	}
	v.Set(out)
}

// generic decodes what belongs to a connector: any mapping, in JSON's types.
func (d *decoder) generic(n *yaml.Node, path string, depth int) map[string]any {
	out := map[string]any{}
	pairs, _ := d.pairs(n, path)
	for _, pair := range pairs {
		out[pair[0].Value] = d.any(pair[1], join(path, pair[0].Value), depth+1)
	}
	return out
}

func (d *decoder) any(n *yaml.Node, path string, depth int) any {
	defer d.keyed(len(d.problems), path)
	n, ok := d.enter(n, path, depth)
	if !ok {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.generic(n, path, depth)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			out = append(out, d.any(item, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
		return out
	}
	switch n.ShortTag() {
	case "!!bool", "!!int", "!!float":
		var out any
		if err := n.Decode(&out); err != nil {
			d.problem(n, "cannot read %s", d.describe(n))
		}
		switch f := out.(type) {
		case float64:
			if f != f || f > 1e308 || f < -1e308 {
				d.problem(n, "%s is no number that JSON can hold", d.describe(n))
				return nil
			}
		}
		return out
	default:
		return n.Value // a timestamp too: JSON has none
	}
}

// scalar decodes strings, numbers and booleans. A string takes any scalar as it
// is written, so that a phone number needs no quotes.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value) {
	want := map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false"}[v.Kind()]
	if want == "" {
		want = "a whole number"
	}
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "expected %s, not %s", want, d.describe(n))
		return
	}
	if _, expanded := d.raw[n]; expanded && v.Kind() != reflect.String {
		n.Tag, n.Style = "", 0 // {port: "${PORT}"}: within braces YAML wants the quotes
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(n.Value))
		if err != nil || n.ShortTag() != "!!bool" {
			d.problem(n, "expected true or false, not %s%s", d.describe(n), quoted(n, err == nil))
			return
		}
		v.SetBool(b)
	default:
		var i int64
		if n.ShortTag() != "!!int" || n.Decode(&i) != nil || v.OverflowInt(i) {
			_, err := strconv.Atoi(n.Value)
			d.problem(n, "expected a whole number, not %s%s", d.describe(n), quoted(n, err == nil))
			return
		}
		v.SetInt(i)
	}
}

func (d *decoder) duration(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "expected a duration such as 5s, not %s", d.describe(n))
		return
	}
	x, err := time.ParseDuration(n.Value)
	switch {
	case err != nil && n.ShortTag() == "!!int":
		d.problem(n, "expected a duration such as 5s, not %s: the unit is missing", d.describe(n))
	case err != nil:
		d.problem(n, "expected a duration such as 5s, 2m or 1h30m, not %s", d.describe(n))
	default:
		v.SetInt(int64(x))
	}
}

// quoted is the hint for a value that would be right without its quotes.
func quoted(n *yaml.Node, right bool) string {
	if right && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		return ": remove the quotes"
	}
	return ""
}

// describe names what stands there, cut short.
func (d *decoder) describe(n *yaml.Node) string {
	if raw, ok := d.raw[n]; ok {
		return fmt.Sprintf("the value of %q", raw)
	}
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	value := n.Value
	if len(value) > 40 {
		value = strings.ToValidUTF8(value[:40], "") + "…"
	}
	return strconv.Quote(value)
}
