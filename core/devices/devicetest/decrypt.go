package devicetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/devices"
)

var errBad = errors.New("bad message")

func testEvents(t *testing.T, f *fixture) {
	d := f.open(t)
	at := time.Unix(1_700_000_000, 0)
	before := time.Now().Add(-time.Second)
	require.NoError(t, decrypt(t, d, func(ctx context.Context) error {
		return d.Store.EventBuffer.PutBufferedEvent(ctx, [32]byte{}, []byte("hello"), at)
	}))
	d = f.both(t, d, func(d *devices.Device) {
		ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{0})
		require.NoError(t, err)
		require.Equal(t, "hello", string(ev.Plaintext))
		require.Equal(t, at.Unix(), ev.ServerTime.Unix())
		require.WithinRange(t, ev.InsertTime, before, time.Now().Add(time.Second))
		ev, err = d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{2})
		require.NoError(t, err)
		require.Nil(t, ev)
	})
	require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), [32]byte{0}))
	require.NoError(t, d.Store.EventBuffer.ClearBufferedEventPlaintext(t.Context(), [32]byte{2}), "there is none")
	require.NoError(t, d.Retire(t.Context()))
	require.NoError(t, f.load(t).Store.EventBuffer.DeleteOldBufferedHashes(t.Context()))
	d = f.again(t)
	ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{0})
	require.NoError(t, err)
	require.NotNil(t, ev, "it is known that it was handled")
	require.Nil(t, ev.Plaintext)
	ev, err = d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{2})
	require.NoError(t, err)
	require.Nil(t, ev)
}

func testEmptyPlaintext(t *testing.T, f *fixture) {
	d := f.open(t)
	require.NoError(t, decrypt(t, d, func(ctx context.Context) error {
		return d.Store.EventBuffer.PutBufferedEvent(ctx, [32]byte{}, []byte{}, time.Now())
	}))
	f.both(t, d, func(d *devices.Device) {
		ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{})
		require.NoError(t, err)
		require.NotNil(t, ev.Plaintext, "nil means that it was handled")
	})
}

func testOwnWrites(t *testing.T, f *fixture) {
	d := f.open(t)
	s := d.Store
	k, err := s.PreKeys.GenOnePreKey(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Sessions.PutSession(t.Context(), "1:0", []byte("0")))
	require.NoError(t, s.Sessions.PutSession(t.Context(), "1:5", []byte("5")))
	check := func(ctx context.Context, d *devices.Device) {
		s := d.Store
		got, err := s.Sessions.GetSession(ctx, "1:0")
		require.NoError(t, err)
		require.Equal(t, "2", string(got))
		many, err := s.Sessions.GetManySessions(ctx, []string{"1:0", "1:5", "2:0"})
		require.NoError(t, err)
		require.Equal(t, "2", string(many["1:0"]))
		require.Nil(t, many["1:5"])
		require.Equal(t, "n", string(many["2:0"]))
		ok, err := s.Identities.IsTrustedIdentity(ctx, "1:0", [32]byte{9})
		require.NoError(t, err)
		require.False(t, ok)
		sk, err := s.SenderKeys.GetSenderKey(ctx, "g", "1:0")
		require.NoError(t, err)
		require.Equal(t, "k", string(sk))
		pk, err := s.PreKeys.GetPreKey(ctx, k.KeyID)
		require.NoError(t, err)
		require.Nil(t, pk)
		ev, err := s.EventBuffer.GetBufferedEvent(ctx, [32]byte{1})
		require.NoError(t, err)
		require.Equal(t, "hello", string(ev.Plaintext))
	}
	require.NoError(t, decrypt(t, d, func(ctx context.Context) error {
		require.NoError(t, s.Sessions.PutSession(ctx, "1:0", []byte("1")))
		require.NoError(t, s.Sessions.PutManySessions(ctx, map[string][]byte{"1:0": []byte("2"), "2:0": []byte("x")}))
		require.NoError(t, s.Sessions.DeleteSession(ctx, "2:0"))
		require.NoError(t, s.Sessions.PutSession(ctx, "2:0", []byte("n")))
		require.NoError(t, s.Sessions.DeleteSession(ctx, "1:5"))
		require.NoError(t, s.Identities.PutIdentity(ctx, "1:0", [32]byte{1}))
		require.NoError(t, s.SenderKeys.PutSenderKey(ctx, "g", "1:0", []byte("k")))
		require.NoError(t, s.PreKeys.RemovePreKey(ctx, k.KeyID))
		require.NoError(t, s.EventBuffer.PutBufferedEvent(ctx, [32]byte{1}, []byte("hello"), time.Now()))
		check(ctx, d)
		return nil
	}))
	f.both(t, d, func(d *devices.Device) { check(t.Context(), d) })
}

func testAborted(t *testing.T, f *fixture) {
	d := f.open(t)
	require.NoError(t, d.Store.Sessions.PutSession(t.Context(), "1:0", []byte("0")))
	err := decrypt(t, d, func(ctx context.Context) error {
		require.NoError(t, d.Store.Sessions.PutSession(ctx, "1:0", []byte("1")))
		require.NoError(t, d.Store.EventBuffer.PutBufferedEvent(ctx, [32]byte{1}, []byte("hello"), time.Now()))
		return errBad
	})
	require.ErrorIs(t, err, errBad)
	require.NotErrorIs(t, err, context.Canceled)
	f.both(t, d, func(d *devices.Device) {
		got, err := d.Store.Sessions.GetSession(t.Context(), "1:0")
		require.NoError(t, err)
		require.Equal(t, "0", string(got))
		ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{1})
		require.NoError(t, err)
		require.Nil(t, ev)
	})
}

// modelTxn is a decryption of the model test, which may fail.
func modelTxn(t *testing.T, r *rapid.T, d *devices.Device, model map[string]string, address *rapid.Generator[string]) {
	after := maps.Clone(model)
	fails := rapid.Bool().Draw(r, "fails")
	err := decrypt(t, d, func(ctx context.Context) error {
		for range rapid.IntRange(1, 4).Draw(r, "writes") {
			a := address.Draw(r, "a")
			got, err := d.Store.Sessions.GetSession(ctx, a)
			require.NoError(r, err)
			require.Equal(r, after[a], string(got))
			if rapid.Bool().Draw(r, "put") {
				after[a] = rapid.StringN(1, 8, -1).Draw(r, "v")
				require.NoError(r, d.Store.Sessions.PutSession(ctx, a, []byte(after[a])))
			} else {
				delete(after, a)
				require.NoError(r, d.Store.Sessions.DeleteSession(ctx, a))
			}
		}
		if fails {
			return errBad
		}
		return nil
	})
	if fails {
		require.ErrorIs(r, err, errBad)
		return
	}
	require.NoError(r, err)
	clear(model)
	maps.Copy(model, after)
}

// message is a decryption of the kind that has the most writes: the first message of a
// new session, which uses a prekey up and brings a group's sender key.
type message struct {
	hash   [32]byte
	prekey uint32
}

func (m message) decrypt(t *testing.T, d *devices.Device) error {
	s := d.Store
	return decrypt(t, d, func(ctx context.Context) error {
		for _, step := range []func() error{
			func() error { return s.Identities.PutIdentity(ctx, "1:0", [32]byte{2}) },
			func() error { return s.PreKeys.RemovePreKey(ctx, m.prekey) },
			func() error { return s.Sessions.PutSession(ctx, "1:0", []byte("moved on")) },
			func() error { return s.SenderKeys.PutSenderKey(ctx, "g", "1:0", []byte("k")) },
			func() error { return s.EventBuffer.PutBufferedEvent(ctx, m.hash, []byte("hello"), time.Now()) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

// check fails if the message can be had neither from the buffer nor by decrypting it, and
// returns whether it is in the buffer.
func (m message) check(t *testing.T, d *devices.Device) (buffered bool) {
	t.Helper()
	ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), m.hash)
	require.NoError(t, err)
	session, err := d.Store.Sessions.GetSession(t.Context(), "1:0")
	require.NoError(t, err)
	sender, err := d.Store.SenderKeys.GetSenderKey(t.Context(), "g", "1:0")
	require.NoError(t, err)
	key, err := d.Store.PreKeys.GetPreKey(t.Context(), m.prekey)
	require.NoError(t, err)
	if ev != nil {
		require.Equal(t, "hello", string(ev.Plaintext))
		return true
	}
	require.Equal(t, "0", string(session), "the session has moved on and the message is not in the buffer")
	require.Nil(t, sender)
	require.NotNil(t, key, "the prekey is gone and the message is not in the buffer")
	return false
}

// newMessage prepares what the message needs.
func (f *fixture) newMessage(t *testing.T, d *devices.Device, n byte) message {
	t.Helper()
	s := d.Store
	require.NoError(t, s.Sessions.PutSession(t.Context(), "1:0", []byte("0")))
	require.NoError(t, s.Identities.PutIdentity(t.Context(), "1:0", [32]byte{1}))
	k, err := s.PreKeys.GenOnePreKey(t.Context())
	require.NoError(t, err)
	return message{hash: [32]byte{n}, prekey: k.KeyID}
}

func testFailingCalls(t *testing.T, f *fixture) {
	d := f.open(t)
	for i, method := range []string{
		"DoDecryptionTxn", "PutIdentity", "RemovePreKey", "PutSession", "PutSenderKey", "PutBufferedEvent",
	} {
		m := f.newMessage(t, d, byte(i))
		f.faults.Fail(method, 1)
		err := m.decrypt(t, d)
		require.ErrorIs(t, err, context.Canceled, method)
		require.ErrorIs(t, d.Failed(), devices.ErrInjected, method)
		require.False(t, f.faults.Pending(method), method)
		d = f.again(t)
		require.False(t, m.check(t, d), method)
		require.NoError(t, m.decrypt(t, d))
		require.True(t, m.check(t, d), method)
		_, err = d.Store.SenderKeys.GetSenderKey(t.Context(), "g", "1:0")
		require.NoError(t, err)
		require.NoError(t, f.c.Delete(t.Context(), JID, owner()))
		d = f.open(t)
	}
}

// testCuts lets the program die before each of the writes of a decryption, and after all.
func testCuts(t *testing.T, f *fixture) {
	const writes = 5
	for n := range writes + 1 {
		d := f.open(t)
		m := f.newMessage(t, d, byte(n))
		f.faults.Cut(n)
		require.ErrorIs(t, m.decrypt(t, d), context.Canceled)
		require.False(t, f.faults.Uncut(), "a bulk was cut")
		require.Error(t, d.Failed())
		d = f.again(t)
		require.Equal(t, n > 0, m.check(t, d), "cut before write %d: the plaintext is the first", n)
		key, err := d.Store.PreKeys.GetPreKey(t.Context(), m.prekey)
		require.NoError(t, err)
		require.Equal(t, n == writes, key == nil, "cut before write %d: the prekey goes last", n)
		require.NoError(t, f.c.Delete(t.Context(), JID, owner()))
	}
}

func testManyAtOnce(t *testing.T, f *fixture) {
	d := f.open(t)
	var wg sync.WaitGroup
	const workers, rounds = 6, 8
	for w := range workers {
		wg.Go(func() {
			peer := fmt.Sprintf("%d:0", w)
			for i := range rounds {
				if err := work(t.Context(), d, peer, byte(w), byte(i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.both(t, d, func(d *devices.Device) {
		for w := range workers {
			got, err := d.Store.Sessions.GetSession(t.Context(), fmt.Sprintf("%d:0", w))
			require.NoError(t, err)
			require.Len(t, got, 2*rounds, "no step was lost")
			for i := range rounds {
				ev, err := d.Store.EventBuffer.GetBufferedEvent(t.Context(), [32]byte{byte(w), byte(i)})
				require.NoError(t, err)
				require.NotNil(t, ev)
			}
		}
	})
}

// work is a message from a peer, and an answer to it.
func work(ctx context.Context, d *devices.Device, peer string, w, i byte) error {
	s := d.Store
	err := s.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
		session, err := s.Sessions.GetSession(ctx, peer)
		if err != nil {
			return err
		}
		return errors.Join(
			s.Sessions.PutSession(ctx, peer, append(session, 'r')),
			s.EventBuffer.PutBufferedEvent(ctx, [32]byte{w, i}, []byte("hello"), time.Now()))
	})
	if err != nil {
		return err
	}
	_, _, err = s.Contacts.PutPushName(ctx, user(fmt.Sprint(w)), fmt.Sprint(i))
	if err != nil {
		return err
	}
	lid := types.NewJID(fmt.Sprintf("9%d", w), types.HiddenUserServer)
	if err := s.LIDs.PutLIDMapping(ctx, lid, user(fmt.Sprint(w))); err != nil {
		return err
	}
	ctx, send := d.Sending(ctx)
	defer send.Done()
	got, err := s.Sessions.GetManySessions(ctx, []string{peer})
	if err != nil {
		return err
	}
	return s.Sessions.PutManySessions(ctx, map[string][]byte{peer: append(got[peer], 's')})
}
