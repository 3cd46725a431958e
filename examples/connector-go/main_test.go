// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/sdktest"
)

func with(path string) json.RawMessage { return json.RawMessage(fmt.Sprintf(`{"path":%q}`, path)) }

func TestConnectorPassesTheSuite(t *testing.T) {
	sdktest.Run(t, New, with(filepath.Join(t.TempDir(), "events.jsonl")))
}

func start(t *testing.T, path string) sdk.Connector {
	t.Helper()
	c := New()
	require.NoError(t, c.Configure(with(path)))
	require.NoError(t, c.Start(t.Context(), nil))
	t.Cleanup(func() { require.NoError(t, c.Stop(context.Background())) })
	return c
}

func delivery(chat string, seq uint64) sdk.Delivery {
	return sdk.Delivery{
		Event:   &sdk.Event{ID: fmt.Sprint(chat, seq), Type: sdk.TypeMessage, Account: "a", Chat: chat, Seq: seq, Message: &sdk.Message{Text: "line\nbreak"}},
		Attempt: 1, Ordered: true, Prev: seq - 1,
	}
}

func read(t *testing.T, path string) (out []record) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for l := range strings.Lines(string(b)) {
		require.True(t, strings.HasSuffix(l, "\n"), "a torn line: %q", l)
		var r record
		require.NoError(t, json.Unmarshal([]byte(l), &r))
		out = append(out, r)
	}
	return out
}

func TestALineHoldsTheWholeEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	d := delivery("c", 7)
	require.Equal(t, sdk.Result{Status: sdk.OK}, start(t, path).Deliver(t.Context(), d))
	require.Equal(t, []record{{
		ID: "c7", Type: "message", Account: "a", Chat: "c", Seq: 7, Prev: 6, Attempt: 1, Ordered: true, Event: d.Event,
	}}, read(t, path))
}

func TestATornLineIsCutOffAtStart(t *testing.T) {
	for name, torn := range map[string]string{
		"small": `{"id":"c2","ty`, "only": "", "large": strings.Repeat("x", 200<<10),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			first := start(t, path)
			require.Equal(t, sdk.OK, first.Deliver(t.Context(), delivery("c", 1)).Status)
			require.NoError(t, first.Stop(t.Context()))
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = f.WriteString(torn)
			require.NoError(t, err)
			require.NoError(t, f.Close())

			require.Equal(t, sdk.OK, start(t, path).Deliver(t.Context(), delivery("c", 2)).Status)
			got := read(t, path)
			require.Len(t, got, 2)
			require.EqualValues(t, 2, got[1].Seq)
		})
	}
}

func TestAFileOfOneTornLineBecomesEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte(`{"id"`), 0o600))
	start(t, path)
	require.Empty(t, read(t, path))
}

func TestManyChatsAtOnceKeepTheirOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	c := start(t, path)
	var wg sync.WaitGroup
	for chat := range 20 {
		wg.Go(func() {
			for seq := uint64(1); seq <= 20; seq++ {
				if r := c.Deliver(t.Context(), delivery(fmt.Sprint("chat", chat), seq)); r.Status != sdk.OK {
					t.Errorf("%+v", r)
				}
			}
		})
	}
	wg.Wait()
	last := map[string]uint64{}
	for _, r := range read(t, path) {
		require.Equal(t, last[r.Chat]+1, r.Seq)
		last[r.Chat] = r.Seq
	}
	require.Len(t, last, 20)
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	require.EqualError(t, New().Configure(json.RawMessage(`{}`)), "path: is required")
	require.ErrorContains(t, New().Configure(json.RawMessage(`{"pth":"x"}`)), `unknown field "pth"`)
	require.Error(t, New().Configure(json.RawMessage(`{"path":"x"} {}`)))
}

func TestAFolderThatIsMissingFailsTheStart(t *testing.T) {
	c := New()
	require.NoError(t, c.Configure(with(filepath.Join(t.TempDir(), "no", "such", "file"))))
	require.ErrorContains(t, c.Start(t.Context(), nil), "no such file")
	require.NoError(t, c.Stop(t.Context()))
}
