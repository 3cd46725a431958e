package simulator

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func reopen(t require.TestingT, dir string) (*journal, map[string][]byte) {
	j, values, err := openJournal(dir, false)
	require.NoError(t, err)
	return j, values
}

func TestTheJournalHoldsWhatWasCommitted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "journal")
		require.NoError(t, err)
		defer func() { _ = os.RemoveAll(dir) }()
		j, _ := reopen(t, dir)
		want := map[string]string{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0: // a restart
				require.NoError(t, j.close())
				j, _ = reopen(t, dir)
			case 1:
				j.mu.Lock()
				require.NoError(t, j.compact())
				j.mu.Unlock()
			default:
				b := new(batch)
				for range rapid.IntRange(1, 5).Draw(t, "ops") {
					key := fmt.Sprint("k", rapid.IntRange(0, 8).Draw(t, "key"))
					if rapid.Bool().Draw(t, "delete") {
						b.del(key)
						delete(want, key)
					} else {
						value := rapid.StringN(0, 40, 200).Draw(t, "value")
						b.put(key, []byte(value))
						want[key] = value
					}
				}
				require.NoError(t, j.commit(b))
			}
		}
		require.NoError(t, j.close())
		j, values := reopen(t, dir)
		require.NoError(t, j.close())
		got := map[string]string{}
		for k, v := range values {
			got[k] = string(v)
		}
		require.Equal(t, want, got)
	})
}

// A kill in the middle of a write leaves a part of a record.
func TestATornBatchNeverCounts(t *testing.T) {
	dir := t.TempDir()
	j, _ := reopen(t, dir)
	first, second := new(batch), new(batch)
	first.put("a", []byte("1"))
	second.put("a", []byte("2"))
	second.put("b", []byte("2"))
	require.NoError(t, j.commit(first))
	whole := j.size
	require.NoError(t, j.commit(second))
	require.NoError(t, j.close())
	path := filepath.Join(dir, "sandbox.journal")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for cut := whole; cut < int64(len(raw)); cut++ {
		require.NoError(t, os.WriteFile(path, raw[:cut], 0o600))
		j, values := reopen(t, dir)
		require.Equal(t, map[string][]byte{"a": []byte("1")}, values)
		third := new(batch)
		third.put("c", []byte("3"))
		require.NoError(t, j.commit(third))
		require.NoError(t, j.close())
		j, values = reopen(t, dir)
		require.Len(t, values, 2)
		require.NoError(t, j.close())
	}
}

func TestManyWritersShareTheJournal(t *testing.T) {
	dir := t.TempDir()
	j, _ := reopen(t, dir)
	var work sync.WaitGroup
	for w := range 8 {
		work.Go(func() {
			for i := range 200 {
				b := new(batch)
				b.put(fmt.Sprintf("%d/%d", w, i), bytes.Repeat([]byte{byte(w)}, 100))
				if i > 0 {
					b.del(fmt.Sprintf("%d/%d", w, i-1))
				}
				if err := j.commit(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	require.NoError(t, j.close())
	require.ErrorIs(t, j.commit(func() *batch { b := new(batch); b.put("x", nil); return b }()), os.ErrClosed)
	j, values := reopen(t, dir)
	require.Len(t, values, 8)
	require.NoError(t, j.close())
}
