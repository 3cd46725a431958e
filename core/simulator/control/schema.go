package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// schemas are the document's components, made from Go types: json tags give the names and
// what may be missing, doc tags the descriptions, enum tags the values.
type schemas struct {
	components object
	types      map[string]reflect.Type
}

// of is the schema of a type: a reference, for a struct, to what it adds to the components.
func (s schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[[]byte]():
		return object{"type": "string", "format": "byte"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if known := s.types[name]; known != nil && known != t {
			panic(fmt.Sprintf("two types of one name in the document: %s and %s", known, t)) // a programmer's mistake
		} else if known == nil {
			s.types[name] = t // first, for a type that names itself
			s.components[name] = s.object(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{}
}

func (s schemas) object(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.fields(t, properties, &required)
	out := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func (s schemas) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.fields(f.Type, properties, required)
			continue
		case name == "-" || !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		schema := s.of(f.Type)
		if values := f.Tag.Get("enum"); values != "" {
			schema["enum"] = strings.Split(values, ",")
		}
		if doc := f.Tag.Get("doc"); doc != "" {
			if schema["$ref"] != nil { // siblings of a reference are ignored
				schema = object{"allOf": []any{schema}}
			}
			schema["description"] = doc
		}
		properties[name] = schema
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
		}
	}
}
