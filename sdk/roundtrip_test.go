// SPDX-License-Identifier: Apache-2.0

package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/wire"
)

// filler gives every field of a value a value of its own, so that a field which a
// conversion forgets, or takes from another, is named by the comparison.
type filler struct{ n int }

func (f *filler) fill(t testing.TB, path string, v reflect.Value) {
	f.n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(f.n), 123_456_789).UTC()))
		return
	case time.Duration:
		v.SetInt(int64(time.Duration(f.n) * time.Millisecond))
		return
	case json.RawMessage:
		v.SetBytes(fmt.Appendf(nil, `{"n":%d}`, f.n))
		return
	case sdk.Status:
		v.Set(reflect.ValueOf(sdk.Reject))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			f.fill(t, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("%s-%d-é", path, f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(f.n))
	case reflect.Uint64, reflect.Uint32:
		v.SetUint(uint64(f.n)) //nolint:gosec // small
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	default:
		t.Fatalf("%s: the test cannot fill a %s", path, v.Type())
	}
}

func TestEveryFieldSurvivesTheStream(t *testing.T) {
	var sent sdk.Delivery
	var answer sdk.Result
	f := &filler{}
	f.fill(t, "Delivery", reflect.ValueOf(&sent).Elem())
	f.fill(t, "Result", reflect.ValueOf(&answer).Elem())

	got := make(chan sdk.Delivery, 1)
	_, st := started(t, &fake{deliver: func(_ context.Context, d sdk.Delivery) sdk.Result {
		got <- d
		return answer
	}}, wire.StreamConfig{})
	result := deliver(t.Context(), st, sent)
	require.Empty(t, cmp.Diff(sent, <-got), "a field of the delivery was lost or mixed up")
	require.Empty(t, cmp.Diff(answer, result), "a field of the result was lost or mixed up")
}

func TestEveryFieldOfInfoSurvives(t *testing.T) {
	var info sdk.Info
	(&filler{}).fill(t, "Info", reflect.ValueOf(&info).Elem())
	p := connect(t, &fake{info: info})
	got, err := p.Describe(t.Context())
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(info, got))
}

func TestAnEmptyEventStaysEmpty(t *testing.T) {
	got := make(chan sdk.Delivery, 1)
	_, st := started(t, &fake{deliver: func(_ context.Context, d sdk.Delivery) sdk.Result {
		got <- d
		return sdk.Result{}
	}}, wire.StreamConfig{})
	sent := sdk.Delivery{Event: &sdk.Event{}, Attempt: 1}
	require.Equal(t, sdk.Result{}, deliver(t.Context(), st, sent), "a forgotten status is a retry")
	require.Empty(t, cmp.Diff(sent, <-got), "zero times and nil pointers stay so")
}

func TestEachStatusSurvives(t *testing.T) {
	answers := make(chan sdk.Result, 1)
	_, st := started(t, &fake{deliver: func(context.Context, sdk.Delivery) sdk.Result { return <-answers }}, wire.StreamConfig{})
	for _, s := range []sdk.Status{sdk.OK, sdk.Retry, sdk.Reject, sdk.Disable} {
		answers <- sdk.Result{Status: s}
		require.Equal(t, s, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 1), Ordered: true}).Status)
	}
	answers <- sdk.Result{Status: 77}
	require.Equal(t, sdk.Retry, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 1)}).Status)
}

func TestInvalidUTF8EndsNoStream(t *testing.T) {
	got := make(chan sdk.Delivery, 1)
	_, st := started(t, &fake{deliver: func(_ context.Context, d sdk.Delivery) sdk.Result {
		got <- d
		return sdk.Result{Status: sdk.OK, Reason: "bad\xff", Body: "\xfe"}
	}}, wire.StreamConfig{})
	e := event("c", 1)
	e.Message = &sdk.Message{Text: "a\xffb", Mentions: []string{"x", "\xc3"}}
	mentions := e.Message.Mentions
	r := deliver(t.Context(), st, sdk.Delivery{Event: e})
	require.Equal(t, sdk.OK, r.Status)
	require.Equal(t, "bad\uFFFD", r.Reason)
	require.Equal(t, "a\uFFFDb", (<-got).Event.Message.Text)
	require.Equal(t, "\xc3", mentions[1], "the caller's event is not changed")
}
