package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
)

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.at.Load(), 0).UTC() }

func (c *clock) add(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func newClock() *clock {
	c := &clock{}
	c.at.Store(1_800_000_000)
	return c
}

// rig is a database on which hubs have their rings.
type rig struct {
	t     *testing.T
	clock *clock
	store *flaky
}

// flaky is a database that may be away, or not answer at all.
type flaky struct {
	store.KV
	away   atomic.Bool
	hangs  atomic.Bool
	asked  atomic.Int32
	writes atomic.Int32
}

func (f *flaky) GetKV(ctx context.Context, namespace, key string) ([]byte, error) {
	if f.away.Load() {
		return nil, store.ErrAway
	}
	if f.hangs.Load() {
		f.asked.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.KV.GetKV(ctx, namespace, key)
}

func (f *flaky) SwapKV(ctx context.Context, namespace, key string, old, value []byte) error {
	f.writes.Add(1)
	return f.KV.SwapKV(ctx, namespace, key, old, value)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &rig{t: t, clock: newClock(), store: &flaky{KV: s}}
}

func (r *rig) ring(cfg Config) *Ring {
	r.t.Helper()
	ring, err := New(r.t.Context(), cfg, Deps{Store: r.store, Now: r.clock.now})
	require.NoError(r.t, err)
	return ring
}

func create(t *testing.T, r *Ring, scope Scope, accounts ...string) (Key, string) {
	t.Helper()
	k, token, err := r.Create(t.Context(), Request{Name: "a " + string(scope), Scope: scope, Accounts: accounts})
	require.NoError(t, err)
	return k, token
}

func refused(t *testing.T, err error, code string) {
	t.Helper()
	var r *Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, code, r.Code)
	require.NotEmpty(t, r.Text)
}

func TestAKeyIsKnownByItsHashAlone(t *testing.T) {
	rig := newRig(t)
	a := rig.ring(Config{Loopback: true})
	k, token := create(t, a, Admin)
	require.Regexp(t, `^wk_`+k.ID+`_[0-9A-Za-z]{43}$`, token)
	raw, err := rig.store.GetKV(t.Context(), namespace, listKey)
	require.NoError(t, err)
	require.Contains(t, string(raw), k.ID)
	require.NotContains(t, string(raw), token[len(token)-20:])

	b := rig.ring(Config{Loopback: true})
	got, err := b.Check(token)
	require.NoError(t, err)
	require.Equal(t, k, got)
	for _, wrong := range []string{"", "wk_", token + "0", token[:len(token)-1], strings.ToUpper(token), " " + token, token + "\n", "wk_" + k.ID + "_" + strings.Repeat("0", 43), k.ID} {
		_, err := b.Check(wrong)
		require.ErrorIs(t, err, ErrUnknown, wrong)
	}
	_, second := create(t, a, Read)
	require.NotEqual(t, token, second)
	_, err = b.Check(second)
	require.ErrorIs(t, err, ErrUnknown, "not looked at yet")
	require.NoError(t, b.Refresh(t.Context()))
	_, err = b.Check(second)
	require.NoError(t, err)
}

func TestScopesIncludeThoseBelow(t *testing.T) {
	for i, have := range Scopes() {
		for j, needed := range Scopes() {
			require.Equal(t, i <= j, have.Includes(needed), "%s %s", have, needed)
		}
		require.False(t, have.Includes("other"))
		require.False(t, Scope("other").Includes(have))
		require.False(t, Scope("").Includes(have))
	}
}

func TestWhoNeedsAKey(t *testing.T) {
	rig := newRig(t)
	local, open, off := rig.ring(Config{Loopback: true}), rig.ring(Config{}), rig.ring(Config{Disabled: true})
	require.Equal(t, "open needed disabled", fmt.Sprint(local.Mode(), " ", open.Mode(), " ", off.Mode()))
	require.Equal(t, Open, local.Mode())
	require.Equal(t, Needed, open.Mode(), "nothing opens it to other machines")
	require.Equal(t, Disabled, off.Mode())
	require.Equal(t, Needed, rig.ring(Config{Loopback: true, Admin: strings.Repeat("k", 32)}).Mode())

	k, _ := create(t, open, Admin)
	_, err := local.Delete(t.Context(), "none")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.NoError(t, local.Refresh(t.Context()))
	require.Equal(t, Needed, local.Mode())
	_, err = local.Delete(t.Context(), k.ID)
	require.NoError(t, err)
	require.Equal(t, Open, local.Mode())
}

func TestAnExpiredKeyStillClosesTheAPI(t *testing.T) {
	rig := newRig(t)
	r := rig.ring(Config{Loopback: true, Admin: strings.Repeat("k", 32)})
	_, token, err := r.Create(t.Context(), Request{Name: "short", Scope: Read, ExpiresAt: rig.clock.now().Add(time.Minute)})
	require.NoError(t, err)
	rig.clock.add(59 * time.Second)
	_, err = r.Check(token)
	require.NoError(t, err)
	rig.clock.add(time.Second)
	k, err := r.Check(token)
	require.ErrorIs(t, err, ErrExpired)
	require.Equal(t, "short", k.Name)
	require.Equal(t, Needed, rig.ring(Config{Loopback: true}).Mode())
}

func TestTheConfiguredKey(t *testing.T) {
	rig := newRig(t)
	const secret = "0123456789abcdef0123456789abcdef"
	r := rig.ring(Config{Admin: secret})
	k, err := r.Check(secret)
	require.NoError(t, err)
	require.Equal(t, Admin, k.Scope)
	require.Equal(t, EnvironmentID, k.ID)
	_, err = r.Check(secret + "0")
	require.ErrorIs(t, err, ErrUnknown)
	_, err = r.Delete(t.Context(), EnvironmentID)
	refused(t, err, "key_from_environment")
	// With it nobody is locked out, whatever is stored.
	first, _ := create(t, r, Read)
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{EnvironmentID, first.ID}, []string{list[0].ID, list[1].ID})
	_, err = r.Delete(t.Context(), first.ID)
	require.NoError(t, err)
	_, err = rig.ring(Config{}).Delete(t.Context(), EnvironmentID)
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestTheFirstKeyCanMakeOthers(t *testing.T) {
	rig := newRig(t)
	r := rig.ring(Config{Loopback: true})
	for _, req := range []Request{
		{Name: "a", Scope: Read},
		{Name: "a", Scope: Send},
		{Name: "a", Scope: Admin, Accounts: []string{"shop"}},
		{Name: "a", Scope: Admin, ExpiresAt: rig.clock.now().Add(time.Hour)},
	} {
		_, _, err := r.Create(t.Context(), req)
		refused(t, err, "first_key")
	}
	require.False(t, r.Any())
	create(t, r, Admin)
	create(t, r, Read)
}

func TestTheLastKeyThatCanMakeOthersStays(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		last string
	}{
		"on this machine":               {Config{Loopback: true}, ""},
		"behind a proxy":                {Config{Loopback: true, Proxied: true}, "last_admin_key"},
		"among other hubs":              {Config{Loopback: true, Shared: true}, "last_admin_key"},
		"reached from other machines":   {Config{}, "last_admin_key"},
		"with a key in the environment": {Config{Admin: strings.Repeat("k", 32)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rig := newRig(t)
			r := rig.ring(c.cfg)
			a, _ := create(t, r, Admin)
			b, _ := create(t, r, Admin)
			read, _ := create(t, r, Read)
			_, _, err := r.Create(t.Context(), Request{Name: "for a day", Scope: Admin, ExpiresAt: rig.clock.now().Add(24 * time.Hour)})
			require.NoError(t, err)
			_, err = r.Delete(t.Context(), a.ID)
			require.NoError(t, err)
			_, err = r.Delete(t.Context(), b.ID)
			if c.cfg.Admin != "" {
				require.NoError(t, err)
				return
			}
			refused(t, err, "last_admin_key")
			list, err := r.List(t.Context())
			require.NoError(t, err)
			require.Len(t, list, 3)
			for _, k := range list {
				if k.ID != b.ID {
					_, err = r.Delete(t.Context(), k.ID)
					require.NoError(t, err)
				}
			}
			_, err = r.Delete(t.Context(), read.ID)
			require.ErrorIs(t, err, store.ErrNotFound)
			if _, err = r.Delete(t.Context(), b.ID); c.last == "" {
				require.NoError(t, err)
			} else {
				refused(t, err, c.last)
			}
		})
	}
}

// Whatever hubs do at the same time, as long as there are keys one of them can administer.
func TestTheRulesHoldWhereSeveralChangeKeysAtOnce(t *testing.T) {
	rig := newRig(t)
	var hubs []*Ring
	for range 3 {
		hubs = append(hubs, rig.ring(Config{Shared: true}))
	}
	var ids []string
	for range 6 {
		k, _ := create(t, hubs[0], Admin)
		ids = append(ids, k.ID)
	}
	var done sync.WaitGroup
	var gone, kept atomic.Int32
	for i, id := range ids {
		done.Go(func() {
			_, err := hubs[i%3].Delete(t.Context(), id)
			var r *Refusal
			switch {
			case err == nil:
				gone.Add(1)
			case errors.As(err, &r):
				kept.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	done.Wait()
	require.EqualValues(t, 5, gone.Load())
	require.EqualValues(t, 1, kept.Load())
}

func TestHubsFollowOneAnother(t *testing.T) {
	rig := newRig(t)
	a, b := rig.ring(Config{Shared: true}), rig.ring(Config{Shared: true, Every: 5 * time.Millisecond})
	b.Start()
	defer b.Stop(t.Context())
	create(t, a, Admin)
	k, token := create(t, a, Read)
	known := func() bool { _, err := b.Check(token); return err == nil }
	require.Eventually(t, known, 10*time.Second, time.Millisecond)

	// What was known goes on while the database is away.
	rig.store.away.Store(true)
	require.Error(t, b.Refresh(t.Context()))
	require.True(t, known())
	_, _, err := b.Create(t.Context(), Request{Name: "a", Scope: Read})
	require.ErrorIs(t, err, store.ErrAway)
	rig.store.away.Store(false)
	_, err = a.Delete(t.Context(), k.ID)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !known() }, 10*time.Second, time.Millisecond)
}

func TestStopWaitsForNoDatabase(t *testing.T) {
	rig := newRig(t)
	r := rig.ring(Config{Shared: true, Every: time.Millisecond})
	r.Start()
	rig.store.hangs.Store(true)
	require.Eventually(t, func() bool { return rig.store.asked.Load() > 0 }, 10*time.Second, time.Millisecond)
	begun := time.Now()
	r.Stop(t.Context())
	require.Less(t, time.Since(begun), ioTimeout/2)
}

func TestLastUseIsWrittenOnceAMinute(t *testing.T) {
	rig := newRig(t)
	a, b := rig.ring(Config{Shared: true, Every: time.Millisecond}), rig.ring(Config{Shared: true})
	k, token := create(t, a, Admin)
	require.NoError(t, b.Refresh(t.Context()))
	list, err := b.List(t.Context())
	require.NoError(t, err)
	require.Zero(t, list[0].LastUsed)
	_, err = b.Check(token)
	require.NoError(t, err)
	b.Stop(t.Context())
	b.Stop(t.Context())
	used := rig.clock.now()
	last := func(r *Ring) time.Time {
		list, err := r.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, k.ID, list[0].ID)
		return list[0].LastUsed
	}
	require.Equal(t, used, last(a), "what another hub saw")

	a.Start()
	before := rig.store.writes.Load()
	rig.clock.add(usedEvery / 2)
	for range 100 {
		_, err = a.Check(token)
		require.NoError(t, err)
	}
	require.Equal(t, rig.clock.now(), last(a), "not written yet, and known here")
	require.Equal(t, before, rig.store.writes.Load())
	rig.clock.add(usedEvery / 2)
	require.Eventually(t, func() bool { return last(rig.ring(Config{})).Equal(used.Add(usedEvery / 2)) }, 10*time.Second, time.Millisecond)
	a.Stop(t.Context())
	require.Equal(t, before+1, rig.store.writes.Load())
}

func TestTheTimesOfKeysThatAreGoneGo(t *testing.T) {
	rig := newRig(t)
	r := rig.ring(Config{Loopback: true})
	k, token := create(t, r, Admin)
	_, err := r.Check(token)
	require.NoError(t, err)
	require.NoError(t, r.flush(t.Context()))
	other, token := create(t, r, Admin)
	_, err = r.Delete(t.Context(), k.ID)
	require.NoError(t, err)
	_, err = r.Check(token)
	require.NoError(t, err)
	require.NoError(t, r.flush(t.Context()))
	raw, err := rig.store.GetKV(t.Context(), namespace, usedKey)
	require.NoError(t, err)
	require.NotContains(t, string(raw), k.ID)
	require.Contains(t, string(raw), other.ID)
}

func TestWhatCannotBeReadOpensNothing(t *testing.T) {
	rig := newRig(t)
	r := rig.ring(Config{Loopback: true})
	_, token := create(t, r, Admin)
	for _, raw := range []string{
		`{`, `{"keys":[{"id":"a","scope":"admin","sha256":"00"}]}`,
		fmt.Sprintf(`{"keys":[{"id":"a","scope":"root","sha256":"%064d"}]}`, 0),
		fmt.Sprintf(`{"keys":[{"id":"a","scope":"admin","sha256":"%064d","chats":["only"]}]}`, 0),
	} {
		require.NoError(t, rig.store.SetKV(t.Context(), namespace, listKey, []byte(raw), 0))
		require.Error(t, r.Refresh(t.Context()), raw)
		_, err := r.Check(token)
		require.NoError(t, err, "those that were known go on")
		_, err = New(t.Context(), Config{Loopback: true}, Deps{Store: rig.store})
		require.Error(t, err, raw)
	}
}

func TestThereIsABoundOnKeys(t *testing.T) {
	rig := newRig(t)
	r := rig.ring(Config{Loopback: true})
	k, _ := create(t, r, Admin)
	list := make([]Key, maxKeys)
	for i := range list {
		list[i] = k
		list[i].ID = fmt.Sprintf("%012x", i)
	}
	_, raw, err := read(t.Context(), rig.store)
	require.NoError(t, err)
	require.NoError(t, write(t.Context(), rig.store, raw, list))
	_, _, err = r.Create(t.Context(), Request{Name: "one more", Scope: Read})
	refused(t, err, "too_many_keys")
}

func TestKeysHaveTheirForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rapid.SliceOfN(rapid.Byte(), idBytes+secretSize, idBytes+secretSize).Draw(t, "random")
		id, key, err := generate(bytes.NewReader(random))
		require.NoError(t, err)
		require.Equal(t, id, idOf(key))
		random[len(random)-1] ^= 1
		_, other, err := generate(bytes.NewReader(random))
		require.NoError(t, err)
		require.NotEqual(t, key, other)
		require.Len(t, other, len(key))
	})
	_, _, err := generate(strings.NewReader("short"))
	require.Error(t, err)
}

func FuzzCheck(f *testing.F) {
	f.Add("wk_0123456789ab_" + strings.Repeat("0", 43))
	f.Add("wk__")
	f.Fuzz(func(t *testing.T, key string) {
		if id := idOf(key); id != "" {
			require.True(t, strings.HasPrefix(key, "wk_"+id+"_"))
			require.Len(t, key, len("wk_")+12+1+43)
		}
	})
}

// A time that has a year of five digits in UTC cannot be stored.
func TestAnExpiryThatCannotBeStoredIsRefused(t *testing.T) {
	r := newRig(t).ring(Config{Admin: strings.Repeat("k", 32)})
	for at, fits := range map[string]bool{"9999-12-31T23:59:59Z": true, "9999-12-31T23:59:59-12:00": false} {
		expires, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		if _, _, err = r.Create(t.Context(), Request{Name: "a", Scope: Read, ExpiresAt: expires}); fits {
			require.NoError(t, err)
		} else {
			refused(t, err, "invalid_expiry")
		}
	}
}
