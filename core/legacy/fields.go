package legacy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// fields is a document whose fields may have any type, or be missing.
type fields bson.D

// get is the first of these fields that is there and not null.
func (f fields) get(names ...string) any {
	for _, name := range names {
		for _, e := range f {
			if e.Key == name && e.Value != nil {
				return e.Value
			}
		}
	}
	return nil
}

// text is the first of these fields that is a text and not empty, or an id or a number
// written out.
func (f fields) text(names ...string) string {
	for _, name := range names {
		if s := textOf(f.get(name)); s != "" {
			return s
		}
	}
	return ""
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case bson.Symbol:
		return strings.ToValidUTF8(string(v), "\uFFFD")
	case bson.ObjectID:
		return v.Hex()
	case int32, int64, float64, bson.Decimal128:
		if n, ok := integer(v); ok {
			return strconv.FormatInt(n, 10)
		}
	case bson.D:
		if id := fields(v).get("$oid"); id != nil { // extended JSON that was imported as it stood
			return textOf(id)
		}
	}
	return ""
}

// sub is a document within, also one that was stored as JSON text.
func (f fields) sub(name string) fields {
	switch v := f.get(name).(type) {
	case bson.D:
		return fields(v)
	case string:
		var d bson.D
		if strings.HasPrefix(strings.TrimSpace(v), "{") && bson.UnmarshalExtJSON([]byte(v), false, &d) == nil {
			return fields(d)
		}
	}
	return nil
}

// list is a field's values; one that is no list is a list of itself.
func (f fields) list(name string) []any {
	switch v := f.get(name).(type) {
	case nil:
		return nil
	case bson.A:
		return v
	default:
		return []any{v}
	}
}

// flag tells whether the first of these fields that is there says yes.
func (f fields) flag(names ...string) bool {
	switch v := f.get(names...).(type) {
	case bool:
		return v
	case string:
		return v == "true" || v == "1"
	default:
		n, ok := integer(v)
		return ok && n != 0
	}
}

// integer reads a whole number in any of the forms that the old service has left.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		if math.IsNaN(v) || v < -(1<<53) || v > 1<<53 {
			return 0, false
		}
		return int64(v), true
	case string:
		return parseInteger(v)
	case bson.Decimal128:
		return parseInteger(v.String())
	case bson.D:
		return longInteger(fields(v))
	}
	return 0, false
}

func parseInteger(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return int64(n), true //nolint:gosec // an unsigned number of 64 bits, as its bits
	}
	if x, err := strconv.ParseFloat(s, 64); err == nil {
		return integer(x)
	}
	return 0, false
}

// longInteger reads {low, high, unsigned}, and extended JSON's {$numberLong}.
func longInteger(f fields) (int64, bool) {
	if v := f.get("$numberLong", "$numberInt"); v != nil {
		s, ok := v.(string)
		if !ok {
			return 0, false
		}
		return parseInteger(s)
	}
	if f.get("low") == nil {
		return 0, false
	}
	var half [2]uint32
	for i, name := range []string{"low", "high"} {
		switch v := f.get(name).(type) {
		case nil: // a high half of 0
		case int32:
			half[i] = uint32(v) //nolint:gosec // its bits
		case int64:
			half[i] = uint32(v) //nolint:gosec // its bits
		case float64:
			if math.IsNaN(v) || math.Abs(v) > 1<<32 {
				return 0, false
			}
			half[i] = uint32(int64(v)) //nolint:gosec // its bits
		default:
			return 0, false
		}
	}
	return int64(uint64(half[1])<<32 | uint64(half[0])), true //nolint:gosec // its bits
}

// The times that can be a message's: before WhatsApp there were none, and what is far
// ahead is a number of something else.
const (
	earliest = 1_230_768_000 // 2009
	latest   = 4_102_444_800 // 2100
)

// when is the first of these fields that is a time: a date, a text of one, or a number
// of seconds or milliseconds. Zero if none is.
func (f fields) when(names ...string) time.Time {
	for _, name := range names {
		if t := timeOf(f.get(name)); !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

func timeOf(v any) time.Time {
	var ms int64
	switch v := v.(type) {
	case bson.DateTime:
		ms = int64(v)
	case bson.Timestamp:
		ms = int64(v.T) * 1000
	case string:
		if t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(v)); err == nil {
			ms = t.UnixMilli()
			break
		}
		n, ok := parseInteger(v)
		if !ok {
			return time.Time{}
		}
		return timeOf(n)
	case bson.D:
		if d := fields(v).get("$date"); d != nil {
			return timeOf(d)
		}
		n, ok := longInteger(fields(v))
		if !ok {
			return time.Time{}
		}
		return timeOf(n)
	default:
		n, ok := integer(v)
		switch {
		case !ok || n <= 0:
			return time.Time{}
		case n <= latest:
			ms = n * 1000
		default:
			ms = n
		}
	}
	if ms < earliest*1000 || ms > latest*1000 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
