package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

// maxJSON is the largest JSON body. A text of 65,536 characters takes at most 12
// bytes a character, as escaped surrogate pairs.
const maxJSON = 2 << 20

// body is a JSON object as a client sent it. Fields are read one by one, so that a
// wrong type gets its route's own error text; unknown fields are ignored.
type body map[string]json.RawMessage

// readBody reads the request's JSON object. An empty body is an empty object, as it
// was in the old program.
func (s *Server) readBody(c *gin.Context) (body, error) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, min(maxJSON, s.cfg.Server.MaxBody)))
	switch {
	case errors.As(err, new(*http.MaxBytesError)), errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("read request body: %w", err)
	case err != nil: // cut off, too slow or wrongly chunked: never this program's fault
		return nil, errIncomplete.because(err)
	}
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\ufeff")))
	if len(raw) == 0 {
		return body{}, nil
	}
	var b body
	switch err := json.Unmarshal(raw, &b); {
	case errors.As(err, new(*json.UnmarshalTypeError)), err == nil && b == nil: // null
		return nil, errNoObject
	case err != nil:
		return nil, errMalformed
	}
	return b, nil
}

// has says whether a field is there and is not what JavaScript calls false: the old
// program's "required" meant that.
func (b body) has(field string) bool {
	switch string(b[field]) {
	case "", "null", `""`, "false", "0":
		return false
	}
	return true
}

// text returns a field that must be a string; ok is false for anything else.
// A field that is absent or null is "".
func (b body) text(field string) (value string, ok bool) {
	if raw := b[field]; len(raw) > 0 && string(raw) != "null" {
		return value, json.Unmarshal(raw, &value) == nil
	}
	return "", true
}

// texts returns a field that must be a list of strings; absent or null is nil.
func (b body) texts(field string) (values []string, ok bool) {
	if raw := b[field]; len(raw) > 0 && string(raw) != "null" {
		var items []*string
		if json.Unmarshal(raw, &items) != nil {
			return nil, false
		}
		for _, item := range items {
			if item == nil {
				return nil, false
			}
			values = append(values, *item)
		}
	}
	return values, true
}

// number reads a query parameter, kept within low and high, however large it is; what is
// no number is the default, as it was in the old program.
func number(c *gin.Context, name string, otherwise, low, high int) int {
	n, err := strconv.Atoi(c.Query(name))
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range, n is the nearest that is not
		return otherwise
	}
	return max(low, min(n, high))
}

// page reads limit (50, at most 500) and skip.
func page(c *gin.Context) (limit, skip int) {
	return number(c, "limit", 50, 1, 500), number(c, "skip", 0, 0, math.MaxInt32)
}

// when reads a time from the query, RFC 3339 or unix seconds; absent is zero.
func when(c *gin.Context, name string) (time.Time, bool) {
	v := c.Query(name)
	if v == "" {
		return time.Time{}, true
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Unix(n, 0), n >= 0 && n < 1<<40
	}
	t, err := time.Parse(time.RFC3339, v)
	return t, err == nil
}

// iso is a time as JavaScript's toISOString writes it.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// isoOrNil is null for a time that is not known.
func isoOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return iso(t)
}
