package config

import (
	"reflect"
)

// Keys returns the path of every key, in the order of the structs:
// "server.port", "rules.files[].file" … It is what documentation is checked against.
func Keys() []string {
	return keysOf(reflect.TypeFor[Config](), "")
}

func keysOf(t reflect.Type, prefix string) []string {
	var out []string
	for i := range t.NumField() {
		name := tag(t.Field(i))
		if name == "" {
			continue
		}
		path, inner := join(prefix, name), t.Field(i).Type
		out = append(out, path)
		switch {
		case inner.Kind() == reflect.Struct:
			out = append(out, keysOf(inner, path)...)
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
			out = append(out, keysOf(inner.Elem(), path+"[]")...)
		}
	}
	return out
}

// tag returns a field's key, or "" if it has none.
func tag(f reflect.StructField) string {
	name := f.Tag.Get("yaml")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// fieldsOf maps a struct's keys to its fields.
func fieldsOf(t reflect.Type) map[string]int {
	out := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := tag(t.Field(i)); name != "" {
			out[name] = i
		}
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
