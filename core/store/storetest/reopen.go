package storetest

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// RunReopen runs what can only be seen when the data is opened again. open opens the
// data in dir, which is empty the first time; for a server, dir is a name for a
// database of its own.
func RunReopen(t *testing.T, open func(t *testing.T, dir string) store.Store) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, reopen func() store.Store)
	}{
		{"everything is there again", reopenAll},
		{"numbers go on where they stopped", reopenNumbers},
		{"a run that was cut short is repeated without harm", reopenReplay},
		{"an upload that was cut short is not seen", reopenUpload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var s store.Store
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			tt.run(t, func() store.Store {
				if s != nil {
					require.NoError(t, s.Close())
				}
				s = open(t, dir)
				return s
			})
		})
	}
}

func reopenAll(t *testing.T, reopen func() store.Store) {
	s := reopen()
	require.NoError(t, s.CreateAccount(t.Context(), store.Account{ID: "a", CreatedAt: at(0), UpdatedAt: at(0)}))
	ev := message(1, "a", "c")
	st := settlement(ev, add(t, s, ev), "hook")
	st.Sends = []store.Send{reply(ev, 0)}
	require.NoError(t, s.Settle(t.Context(), st))
	require.NoError(t, s.SetKV(t.Context(), "n", "k", []byte("v"), 0))
	_, err := s.ResolveAlias(t.Context(), "a", "pn", "lid")
	require.NoError(t, err)
	want, err := s.Event(t.Context(), ev.ID)
	require.NoError(t, err)

	s = reopen()
	got, err := s.Event(t.Context(), ev.ID)
	require.NoError(t, err)
	same(t, want, got)
	_, err = s.Account(t.Context(), "a")
	require.NoError(t, err)
	v, err := s.GetKV(t.Context(), "n", "k")
	require.NoError(t, err)
	require.Equal(t, "v", string(v))
	alias, err := s.ResolveAlias(t.Context(), "a", "lid")
	require.NoError(t, err)
	require.Equal(t, "pn", alias.Key)
	lanes, err := s.QueuedLanes(t.Context(), "hook", store.LaneRef{}, 10)
	require.NoError(t, err)
	same(t, []store.LaneRef{{Endpoint: "hook", Account: "a", Chat: "c"}}, lanes)
	snd, err := s.Send(t.Context(), reply(ev, 0).ID)
	require.NoError(t, err)
	same(t, reply(ev, 0), snd)
}

func reopenNumbers(t *testing.T, reopen func() store.Store) {
	for round := range 3 {
		s := reopen()
		var mu sync.Mutex
		var prev []uint64
		side(t, 4, func(w int) error {
			for i := range 5 {
				ev := message(round*100+w*10+i, "a", "c")
				a, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: uint64(round)})
				if err != nil {
					return err
				}
				st := settlement(ev, a, "hook")
				st.Epoch = uint64(round)
				if err := s.Settle(t.Context(), st); err != nil {
					return err
				}
				mu.Lock()
				prev = append(prev, st.Deliveries[0].Prev)
				mu.Unlock()
			}
			return nil
		})
		gapless(t, seqs(t, s, "a", "c"), (round+1)*20)
		for _, p := range prev {
			if round > 0 {
				require.GreaterOrEqual(t, p, uint64(round*20))
			}
		}
	}
}

// reopenReplay repeats every step of an event's way after a restart, as recovery does.
func reopenReplay(t *testing.T, reopen func() store.Store) {
	ev := message(1, "a", "c")
	var first *store.Settlement
	for round := range 4 {
		s := reopen()
		a, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: uint64(round + 1)})
		require.NoError(t, err)
		require.EqualValues(t, 1, a.Seq)
		require.Equal(t, round > 0, a.Duplicate)
		unfinished, err := s.UnfinishedChats(t.Context(), store.ChatRef{}, 10)
		require.NoError(t, err)
		require.Equal(t, round < 2, len(unfinished) == 1)
		if round == 0 {
			continue
		}
		st := settlement(ev, a, "hook")
		st.Epoch = uint64(round + 1)
		st.Sends = []store.Send{reply(ev, 0)}
		require.NoError(t, s.Settle(t.Context(), st))
		if first == nil {
			first = st
		}
		same(t, first.Deliveries, st.Deliveries)
		sends, err := s.SendsOfEvent(t.Context(), ev.ID)
		require.NoError(t, err)
		require.Len(t, sends, 1)
		ds, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{})
		require.NoError(t, err)
		require.Len(t, ds, 1)
	}
}

func reopenUpload(t *testing.T, reopen func() store.Store) {
	s := reopen()
	stopped, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: "cut", Account: "a"}, &stuck{
			Reader: bytes.NewReader(random(1, 2*piece)), stopped: stopped, release: release,
		})
		done <- err
	}()
	<-stopped
	next := reopen()
	close(release)
	require.Error(t, <-done)
	_, _, err := next.OpenBlob(t.Context(), "cut")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = next.PutBlob(t.Context(), store.BlobInfo{ID: "cut", Account: "a"}, bytes.NewReader([]byte("whole")))
	require.NoError(t, err)
}

// stuck stops at the end of its reader until it is released.
type stuck struct {
	*bytes.Reader
	stopped, release chan struct{}
}

func (r *stuck) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n == 0 && err != nil {
		close(r.stopped)
		<-r.release
	}
	return n, err
}
