package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	soon  = 5 * time.Second
	often = 5 * time.Millisecond
)

var kvTests = []test{
	{"keeps values per namespace", func(t *testing.T, s store.Store) {
		for _, v := range [][]byte{[]byte("one"), {0, 255}, {}} {
			require.NoError(t, s.SetKV(t.Context(), "n", "k.$", v, 0))
			got, err := s.GetKV(t.Context(), "n", "k.$")
			require.NoError(t, err)
			require.Equal(t, v, got)
		}
		_, err := s.GetKV(t.Context(), "m", "k.$")
		require.ErrorIs(t, err, store.ErrNotFound)
		for range 2 {
			require.NoError(t, s.SetKV(t.Context(), "n", "k.$", nil, 0))
		}
		_, err = s.GetKV(t.Context(), "n", "k.$")
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"forgets after the time to live", func(t *testing.T, s store.Store) {
		require.NoError(t, s.SetKV(t.Context(), "n", "short", []byte("v"), 50*time.Millisecond))
		require.NoError(t, s.SetKV(t.Context(), "n", "long", []byte("v"), time.Hour))
		require.Eventually(t, func() bool {
			_, err := s.GetKV(t.Context(), "n", "short")
			return errors.Is(err, store.ErrNotFound)
		}, soon, often)
		require.NoError(t, s.SwapKV(t.Context(), "n", "short", nil, []byte("new")), "expired is none")
		_, err := s.GetKV(t.Context(), "n", "long")
		require.NoError(t, err)
	}},
	{"swaps only what is expected", func(t *testing.T, s store.Store) {
		require.ErrorIs(t, s.SwapKV(t.Context(), "n", "k", []byte("x"), []byte("1")), store.ErrStale)
		require.NoError(t, s.SwapKV(t.Context(), "n", "k", nil, []byte("1")))
		require.ErrorIs(t, s.SwapKV(t.Context(), "n", "k", nil, []byte("2")), store.ErrStale)
		require.ErrorIs(t, s.SwapKV(t.Context(), "n", "k", []byte{}, []byte("2")), store.ErrStale)
		require.NoError(t, s.SwapKV(t.Context(), "n", "k", []byte("1"), nil))
		_, err := s.GetKV(t.Context(), "n", "k")
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"a counter by swap loses nothing", func(t *testing.T, s store.Store) {
		side(t, 8, func(int) error {
			for done := 0; done < 5; {
				old, err := s.GetKV(t.Context(), "n", "count")
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
				err = s.SwapKV(t.Context(), "n", "count", old, append(bytes.Clone(old), 'x'))
				if err == nil {
					done++
				} else if !errors.Is(err, store.ErrStale) {
					return err
				}
			}
			return nil
		})
		got, err := s.GetKV(t.Context(), "n", "count")
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", 40), string(got))
	}},
}

var leaseTests = []test{
	{"are held by one, and each change of owner raises the epoch", func(t *testing.T, s store.Store) {
		l, err := s.AcquireLease(t.Context(), "acc", "one", time.Hour)
		require.NoError(t, err)
		require.Positive(t, l.Epoch)
		require.WithinDuration(t, time.Now().Add(time.Hour), l.Until, time.Minute)
		_, err = s.AcquireLease(t.Context(), "acc", "two", time.Hour)
		require.ErrorIs(t, err, store.ErrStale)
		again, err := s.AcquireLease(t.Context(), "acc", "one", time.Hour)
		require.NoError(t, err)
		require.GreaterOrEqual(t, again.Epoch, l.Epoch)
		again, err = s.RenewLease(t.Context(), again, 2*time.Hour)
		require.NoError(t, err)
		require.NoError(t, s.ReleaseLease(t.Context(), again))
		require.NoError(t, s.ReleaseLease(t.Context(), again))
		_, err = s.RenewLease(t.Context(), again, time.Hour)
		require.ErrorIs(t, err, store.ErrStale)
		next, err := s.AcquireLease(t.Context(), "acc", "two", time.Hour)
		require.NoError(t, err)
		require.Greater(t, next.Epoch, again.Epoch)
		require.NoError(t, s.ReleaseLease(t.Context(), again), "it is another's now, and stays so")
		_, err = s.RenewLease(t.Context(), next, time.Hour)
		require.NoError(t, err)
	}},
	{"are listed by the beginning of their name while they are held", func(t *testing.T, s store.Store) {
		for _, name := range []string{"account/b", "account/a", "accounts", "instance/x"} {
			_, err := s.AcquireLease(t.Context(), name, "one", time.Hour)
			require.NoError(t, err)
		}
		free, err := s.AcquireLease(t.Context(), "account/c", "one", time.Hour)
		require.NoError(t, err)
		require.NoError(t, s.ReleaseLease(t.Context(), free))
		_, err = s.AcquireLease(t.Context(), "account/d", "two", time.Millisecond)
		require.NoError(t, err)
		var got []store.Lease
		require.Eventually(t, func() bool {
			got, err = s.ListLeases(t.Context(), "account/")
			return err == nil && len(got) == 2
		}, soon, often, "one of them runs out at once")
		require.Equal(t, "account/a", got[0].Name)
		require.Equal(t, "account/b", got[1].Name)
		require.Equal(t, "one", got[1].Owner)
		require.Positive(t, got[1].Epoch)
		require.WithinDuration(t, time.Now().Add(time.Hour), got[1].Until, time.Minute)
		none, err := s.ListLeases(t.Context(), "nothing/")
		require.NoError(t, err)
		require.Empty(t, none)
	}},
	{"that ran out are for others", func(t *testing.T, s store.Store) {
		l, err := s.AcquireLease(t.Context(), "acc", "one", 30*time.Millisecond)
		require.NoError(t, err)
		var next store.Lease
		require.Eventually(t, func() bool {
			next, err = s.AcquireLease(t.Context(), "acc", "two", time.Hour)
			return err == nil
		}, soon, often)
		require.Greater(t, next.Epoch, l.Epoch)
		_, err = s.RenewLease(t.Context(), l, time.Hour)
		require.ErrorIs(t, err, store.ErrStale)
	}},
	{"are renewed together, those that were not lost", func(t *testing.T, s store.Store) {
		var ls []store.Lease
		for i := range 32 {
			l, err := s.AcquireLease(t.Context(), fmt.Sprintf("partition/%02d", i), "one", time.Minute)
			require.NoError(t, err)
			ls = append(ls, l)
		}
		kept, err := s.RenewLeases(t.Context(), ls, time.Hour)
		require.NoError(t, err)
		require.Len(t, kept, 32)
		for i, l := range kept {
			require.Equal(t, ls[i].Name, l.Name)
			require.Equal(t, ls[i].Epoch, l.Epoch)
			require.WithinDuration(t, time.Now().Add(time.Hour), l.Until, time.Minute)
		}
		listed, err := s.ListLeases(t.Context(), "partition/")
		require.NoError(t, err)
		same(t, kept, listed)

		require.NoError(t, s.ReleaseLease(t.Context(), kept[3]))
		require.NoError(t, s.ReleaseLease(t.Context(), kept[7]))
		others, err := s.AcquireLease(t.Context(), "partition/07", "two", time.Minute)
		require.NoError(t, err)
		again, err := s.RenewLeases(t.Context(), kept, 2*time.Hour)
		require.NoError(t, err)
		require.Len(t, again, 30)
		for _, l := range again {
			require.NotContains(t, []string{"partition/03", "partition/07"}, l.Name)
		}
		listed, err = s.ListLeases(t.Context(), "partition/07")
		require.NoError(t, err)
		same(t, []store.Lease{others}, listed)
		none, err := s.RenewLeases(t.Context(), nil, time.Hour)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
	{"one of many gets it", func(t *testing.T, s store.Store) {
		var won atomic.Int32
		side(t, 8, func(i int) error {
			_, err := s.AcquireLease(t.Context(), "acc", fmt.Sprint(i), time.Hour)
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, store.ErrStale) {
				return err
			}
			return nil
		})
		require.EqualValues(t, 1, won.Load())
	}},
}

var closeTests = []test{
	{"a cancelled context stops a call", func(t *testing.T, s store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.AppendEvent(ctx, store.Append{Event: message(1, "a", "c"), Epoch: 1})
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.ListEvents(ctx, "", "", 1)
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.PutBlob(ctx, store.BlobInfo{ID: "f"}, strings.NewReader("x"))
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 1, add(t, s, message(1, "a", "c")).Seq)
	}},
	{"Close finishes what was accepted; it may be called twice, and nothing works after it", func(t *testing.T, s store.Store) {
		require.NoError(t, s.Ping(t.Context()))
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		require.Error(t, s.Ping(t.Context()))
		_, err := s.AppendEvent(t.Context(), store.Append{Event: message(1, "a", "c"), Epoch: 1})
		require.Error(t, err)
		_, err = s.Event(t.Context(), id(1))
		require.Error(t, err)
		require.NotErrorIs(t, err, store.ErrNotFound)
		_, err = s.ListAccounts(t.Context())
		require.Error(t, err)
	}},
}
