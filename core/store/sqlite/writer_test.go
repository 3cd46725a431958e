package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// gather makes the writer take all of fns into one transaction: it is held up by an
// operation of ours until they are queued.
func gather(t *testing.T, s *Store, fns ...func(*tx) error) []error {
	t.Helper()
	held, release := make(chan struct{}), make(chan struct{})
	errs := make([]error, len(fns))
	done := make(chan struct{})
	go func() {
		_ = s.write(context.Background(), 0, func(*tx) error { close(held); <-release; return nil })
		done <- struct{}{}
	}()
	<-held
	for i, fn := range fns {
		go func() {
			errs[i] = s.write(context.Background(), 0, fn)
			done <- struct{}{}
		}()
		require.Eventually(t, func() bool {
			s.w.mu.Lock()
			defer s.w.mu.Unlock()
			return len(s.w.queue) == i+1
		}, soon, often)
	}
	close(release)
	for range len(fns) + 1 {
		<-done
	}
	return errs
}

func set(key string, runs *int, err error) func(*tx) error {
	return func(t *tx) error {
		*runs++
		if _, e := t.exec(`INSERT INTO kv (namespace, key, value) VALUES ('t', ?, x'00')`, key); e != nil {
			return e
		}
		return err
	}
}

func TestOneFailureInABatchHarmsNoOther(t *testing.T) {
	s := openStore(t, t.TempDir())
	boom := errors.New("boom")
	var runs [5]int
	errs := gather(t, s,
		set("a", &runs[0], nil),
		set("b", &runs[1], boom), // has written before it fails
		set("c", &runs[2], nil),
		set("a", &runs[3], nil), // violates a constraint
		func(*tx) error { runs[4]++; return store.ErrStale },
	)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], boom)
	require.NoError(t, errs[2])
	require.True(t, isUnique(errs[3]))
	require.ErrorIs(t, errs[4], store.ErrStale)
	for key, want := range map[string]bool{"a": true, "b": false, "c": true} {
		_, err := s.GetKV(t.Context(), "t", key)
		require.Equal(t, want, err == nil, key)
	}
	require.Equal(t, 2, runs[0], "it ran again in a transaction of its own")
}

func TestARefusalThatWroteNothingRepeatsNothing(t *testing.T) {
	s := openStore(t, t.TempDir())
	var runs [3]int
	errs := gather(t, s,
		set("a", &runs[0], nil),
		func(*tx) error { runs[1]++; return store.ErrStale },
		set("b", &runs[2], nil),
	)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], store.ErrStale)
	require.NoError(t, errs[2])
	require.Equal(t, [3]int{1, 1, 1}, runs)
}

func TestARolledBackBatchLeavesNoTraceInMemory(t *testing.T) {
	s := openStore(t, t.TempDir())
	appendTo := func(i int, chat string, seq *uint64) func(*tx) error {
		e := &encoded{Append: store.Append{Event: testEvent(i, chat)}, ids: []any{packID(fmt.Sprintf("%032x", i))}, body: []byte("{}")}
		return func(t *tx) error {
			a, err := e.write(t)
			*seq = a.Seq
			return err
		}
	}
	var seqs [3]uint64
	runs := 0
	errs := gather(t, s, appendTo(1, "c", &seqs[0]), set("x", &runs, errors.New("boom")), appendTo(2, "c", &seqs[1]), appendTo(3, "c", &seqs[2]))
	require.Error(t, errs[1])
	require.Equal(t, [3]uint64{1, 2, 3}, seqs)
	all, err := s.ListEvents(t.Context(), "a", "", 10)
	require.NoError(t, err)
	require.Len(t, all, 3)
}

func TestACallWhoseContextEndsInTheQueueIsNotRun(t *testing.T) {
	s := openStore(t, t.TempDir())
	held, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.write(context.Background(), 0, func(*tx) error { close(held); <-release; return nil })
	}()
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	ran := false
	go func() {
		second <- s.write(ctx, 0, func(*tx) error { ran = true; return nil })
	}()
	require.Eventually(t, func() bool {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		return len(s.w.queue) == 1
	}, soon, often)
	cancel()
	require.ErrorIs(t, <-second, context.Canceled)
	close(release)
	require.NoError(t, <-first)
	require.NoError(t, s.Ping(t.Context()))
	require.False(t, ran)
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	held, release := make(chan struct{}), make(chan struct{})
	errs := make(chan error, 2)
	go func() {
		errs <- s.write(context.Background(), 0, func(*tx) error { close(held); <-release; return nil })
	}()
	<-held
	go func() { errs <- s.SetKV(context.Background(), "n", "k", []byte("v"), 0) }()
	require.Eventually(t, func() bool {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		return len(s.w.queue) == 1
	}, soon, often)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	close(release)
	require.NoError(t, <-closed)
	require.NoError(t, <-errs)
	require.NoError(t, <-errs)
	_, err := openStore(t, dir).GetKV(t.Context(), "n", "k")
	require.NoError(t, err)
}

func TestMetricsGoWithTheStore(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 { // the second would be refused if the first had left anything
		s, err := Open(t.Context(), Config{Dir: t.TempDir()}, Deps{Registerer: reg})
		require.NoError(t, err)
		require.NoError(t, s.Ping(t.Context()))
		families, err := reg.Gather()
		require.NoError(t, err)
		require.Len(t, families, 2)
		require.NoError(t, s.Close())
	}
}
