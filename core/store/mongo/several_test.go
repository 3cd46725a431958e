package mongo

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// several opens stores on one database, as several hubs do.
func several(t *testing.T, n int) []*Store {
	t.Helper()
	uri := server(t)
	name := database(t, uri)
	out := make([]*Store, n)
	for i := range out {
		out[i] = openStore(t, Config{URI: uri, Database: name}, Deps{})
	}
	return out
}

// numbersOf returns the numbers of a chat's events, and fails if an event is there twice.
func numbersOf(t *testing.T, s *Store, chat string) []uint64 {
	t.Helper()
	all, err := s.ListEvents(t.Context(), "", "", 10000)
	require.NoError(t, err)
	var out []uint64
	seen := map[string]bool{}
	for _, ev := range all {
		require.False(t, seen[ev.Event.ID])
		seen[ev.Event.ID] = true
		if ev.Event.Chat == chat {
			out = append(out, ev.Event.Seq)
		}
	}
	slices.Sort(out)
	return out
}

func requireGapless(t *testing.T, numbers []uint64, n int) {
	t.Helper()
	require.Len(t, numbers, n)
	for i, v := range numbers {
		require.EqualValues(t, i+1, v)
	}
}

func TestProcessesForDifferentChatsNumberEachWithoutGaps(t *testing.T) {
	stores := several(t, 3)
	var wg sync.WaitGroup
	for w, s := range stores {
		for c := range 4 {
			wg.Go(func() {
				for i := range 15 {
					_, err := s.AppendEvent(t.Context(), appendOf(w*10000+c*100+i, fmt.Sprint("chat", w, c)))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for w := range stores {
		for c := range 4 {
			requireGapless(t, numbersOf(t, stores[0], fmt.Sprint("chat", w, c)), 15)
		}
	}
}

// No lease allows it, but should it happen, the unique index keeps the numbers whole.
func TestProcessesThatAppendToOneChatCollideAndLeaveNoGap(t *testing.T) {
	stores := several(t, 3)
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := map[string]uint64{}
	for w, s := range stores {
		for k := range 2 {
			wg.Go(func() {
				for i := range 20 {
					a := appendOf((i+k*7+w*3)%25, "c") // the same events, in another order
					got, err := s.AppendEvent(t.Context(), a)
					if errors.Is(err, store.ErrStale) {
						continue // collided too often: refused, and nothing is there
					}
					mu.Lock()
					if before, ok := stored[got.ID]; err != nil || ok && before != got.Seq {
						t.Errorf("event %s has numbers %d and %d: %v", got.ID, before, got.Seq, err)
					}
					stored[got.ID] = got.Seq
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	numbers := numbersOf(t, stores[0], "c")
	requireGapless(t, numbers, len(stored))
}

func TestAFormerOwnerIsFencedAndItsSuccessorGoesOn(t *testing.T) {
	stores := several(t, 2)
	first, second := stores[0], stores[1]
	old, err := first.AcquireLease(t.Context(), "account/a", "one", 0)
	require.NoError(t, err)
	for i := range 3 {
		a := appendOf(i, "c")
		a.Epoch = old.Epoch
		_, err := first.AppendEvent(t.Context(), a)
		require.NoError(t, err)
	}
	st := testSettlement(0, "c", 1, "hook")
	st.Epoch = old.Epoch
	require.NoError(t, first.Settle(t.Context(), st))

	lease, err := second.AcquireLease(t.Context(), "account/a", "two", 0)
	require.NoError(t, err)
	require.Greater(t, lease.Epoch, old.Epoch)
	a := appendOf(10, "c")
	a.Epoch = lease.Epoch
	got, err := second.AppendEvent(t.Context(), a)
	require.NoError(t, err)
	require.EqualValues(t, 4, got.Seq)

	// The first one remembers number 3 as the last, and has not been told anything.
	late := appendOf(11, "c")
	late.Epoch = old.Epoch
	_, err = first.AppendEvent(t.Context(), late)
	require.ErrorIs(t, err, store.ErrStale)
	late = appendOf(2, "c")
	late.Epoch = old.Epoch
	dup, err := first.AppendEvent(t.Context(), late)
	require.NoError(t, err)
	require.Equal(t, store.Appended{ID: testEvent(2, "c").ID, Chat: "c", Seq: 3, Duplicate: true}, dup)

	st = testSettlement(10, "c", 4, "hook")
	st.Epoch = lease.Epoch
	require.NoError(t, second.Settle(t.Context(), st))
	require.EqualValues(t, 1, st.Deliveries[0].Prev, "the successor knows what its predecessor queued")
	behind := testSettlement(10, "c", 4, "hook")
	behind.Epoch, behind.Verdict = old.Epoch, []byte("other")
	require.ErrorIs(t, first.Settle(t.Context(), behind), store.ErrExists)
	requireGapless(t, numbersOf(t, first, "c"), 4)

	// In the account's order, its successor's events come after its own, whatever the clocks say.
	all, err := first.ListEvents(t.Context(), "a", "", 0)
	require.NoError(t, err)
	require.Equal(t, testEvent(10, "c").ID, all[len(all)-1].Event.ID)
}

func TestProcessesThatNameTheSamePersonAgree(t *testing.T) {
	stores := several(t, 3)
	for round := range 5 {
		forms := []string{fmt.Sprint("pn", round), fmt.Sprint("lid", round)}
		var wg sync.WaitGroup
		for i, s := range stores {
			wg.Go(func() {
				f := slices.Clone(forms)
				if i%2 == 1 {
					slices.Reverse(f)
				}
				if _, err := s.ResolveAlias(t.Context(), "a", f...); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		keys := map[string]bool{}
		for _, s := range stores {
			s.aliases.forget()
			for _, f := range forms {
				a, err := s.ResolveAlias(t.Context(), "a", f)
				require.NoError(t, err)
				keys[a.Key] = true
			}
		}
		require.Len(t, keys, 1)
	}
}
