package legacy

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth bounds how deep messages are nested: a quote of a quote of a quote …
const maxDepth = 40

// content rebuilds the protobuf of a message from the object that the old service's
// library had made of it. What has no place in it is dropped. It is nil if nothing is left.
func content(doc fields) *waE2E.Message {
	m := &waE2E.Message{}
	if !fill(m.ProtoReflect(), doc, 0) {
		return nil
	}
	return m
}

// fill sets the fields of m that doc has, and tells whether there was one.
func fill(m protoreflect.Message, doc fields, depth int) bool {
	if depth > maxDepth {
		return false
	}
	filled := false
	for _, e := range doc {
		f := fieldOf(m.Descriptor(), e.Key)
		if f == nil || e.Value == nil {
			continue
		}
		switch {
		case f.IsMap(): // no message has one that says anything
		case f.IsList():
			filled = fillList(m, f, e.Value, depth) || filled
		case f.Message() != nil:
			d, ok := e.Value.(bson.D)
			if !ok {
				continue
			}
			inner := m.NewField(f)
			// An empty message says something, too: that it is one.
			fill(inner.Message(), fields(d), depth+1)
			m.Set(f, inner)
			filled = true
		default:
			if v, ok := scalar(f, e.Value); ok {
				m.Set(f, v)
				filled = true
			}
		}
	}
	return filled
}

func fillList(m protoreflect.Message, f protoreflect.FieldDescriptor, value any, depth int) bool {
	all, ok := value.(bson.A)
	if !ok {
		return false
	}
	list := m.NewField(f).List()
	for _, x := range all {
		if f.Message() == nil {
			if v, ok := scalar(f, x); ok {
				list.Append(v)
			}
			continue
		}
		if d, ok := x.(bson.D); ok {
			inner := list.NewElement()
			fill(inner.Message(), fields(d), depth+1)
			list.Append(inner)
		}
	}
	if list.Len() == 0 {
		return false
	}
	m.Set(f, protoreflect.ValueOfList(list))
	return true
}

// fieldOf finds a field by its name. The two libraries write some with other capitals.
func fieldOf(m protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	all := m.Fields()
	if f := all.ByJSONName(name); f != nil {
		return f
	}
	for i := range all.Len() {
		if f := all.Get(i); strings.EqualFold(f.JSONName(), name) || strings.EqualFold(string(f.Name()), name) {
			return f
		}
	}
	return nil
}

// scalar turns a value into a field's, if it can be one.
func scalar(f protoreflect.FieldDescriptor, v any) (out protoreflect.Value, ok bool) {
	switch f.Kind() {
	case protoreflect.BoolKind:
		b, ok := v.(bool)
		return protoreflect.ValueOfBool(b), ok
	case protoreflect.StringKind:
		s := textOf(v)
		_, isText := v.(string)
		return protoreflect.ValueOfString(s), isText || s != ""
	case protoreflect.BytesKind:
		b, ok := bytesOf(v, 0)
		return protoreflect.ValueOfBytes(b), ok
	case protoreflect.EnumKind:
		return enum(f, v)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return float(f, v)
	}
	n, ok := integer(v)
	if !ok {
		return out, false
	}
	switch f.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n)), n >= math.MinInt32 && n <= math.MaxInt32 //nolint:gosec // ok says so
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n)), n >= 0 && n <= math.MaxUint32 //nolint:gosec // ok says so
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n), true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n)), true //nolint:gosec // its bits
	}
	return out, false
}

func enum(f protoreflect.FieldDescriptor, v any) (out protoreflect.Value, ok bool) {
	if name, isText := v.(string); isText {
		if e := f.Enum().Values().ByName(protoreflect.Name(name)); e != nil {
			return protoreflect.ValueOfEnum(e.Number()), true
		}
	}
	n, ok := integer(v)
	ok = ok && n >= 0 && n <= math.MaxInt32
	return protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)), ok //nolint:gosec // ok says so
}

func float(f protoreflect.FieldDescriptor, v any) (out protoreflect.Value, ok bool) {
	x, isFloat := v.(float64)
	if s, isText := v.(string); isText {
		parsed, err := strconv.ParseFloat(s, 64)
		x, isFloat = parsed, err == nil
	}
	if n, isInt := integer(v); !isFloat && isInt {
		x, isFloat = float64(n), true
	}
	if f.Kind() == protoreflect.FloatKind {
		return protoreflect.ValueOfFloat32(float32(x)), isFloat
	}
	return protoreflect.ValueOfFloat64(x), isFloat
}

// bytesOf reads bytes in any of their forms: Binary, base64, a list of numbers, what JSON
// makes of a Buffer ({type, data}) or of a Uint8Array ({"0": 1, "1": 2}).
func bytesOf(v any, depth int) ([]byte, bool) {
	if depth > 3 {
		return nil, false
	}
	switch v := v.(type) {
	case bson.Binary:
		return v.Data, true
	case string:
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			if b, err := enc.DecodeString(v); err == nil {
				return b, true
			}
		}
	case bson.A:
		b := make([]byte, len(v))
		for i, x := range v {
			n, ok := integer(x)
			if !ok || n < 0 || n > 255 {
				return nil, false
			}
			b[i] = byte(n)
		}
		return b, true
	case bson.D:
		if inner := fields(v).get("data", "buffer", "$binary", "base64"); inner != nil {
			return bytesOf(inner, depth+1)
		}
		return numbered(fields(v))
	}
	return nil, false
}

// numbered reads {"0": 1, "1": 2}.
func numbered(f fields) ([]byte, bool) {
	b := make([]byte, len(f))
	seen := make([]bool, len(f))
	for _, e := range f {
		i, err := strconv.Atoi(e.Key)
		n, ok := integer(e.Value)
		if err != nil || i < 0 || i >= len(b) || !ok || n < 0 || n > 255 {
			return nil, false
		}
		b[i], seen[i] = byte(n), true
	}
	return b, len(b) > 0 && !slices.Contains(seen, false)
}
