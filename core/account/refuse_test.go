package account_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/sdk"
)

func TestWhatTheHandlerRefusesComesAgainInOrder(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errRefused },
		"panic": func() error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			_, dev := h.pair("a", "15550001")
			friend := h.phone("15550002")
			h.say(friend, "15550001", "0")
			h.waitTexts("0")
			require.NoError(t, dev.WaitDrained(within(t)))
			left := 3
			h.setRefuse(func(ev *sdk.Event) error {
				if ev.Type == sdk.TypeMessage && ev.Message.Text == "2" && left > 0 {
					left--
					return fail()
				}
				return nil
			})
			acked, _ := dev.Acked()
			want := []string{"0"}
			for i := 1; i <= 6; i++ {
				want = append(want, fmt.Sprint(i))
				h.say(friend, "15550001", fmt.Sprint(i))
			}
			h.waitTexts(want...)
			require.NoError(t, dev.WaitDrained(within(t)))
			h.waitState("a", account.StateConnected, "")
			now, _ := dev.Acked()
			// What is synchronised after pairing may be acknowledged in between, too.
			require.GreaterOrEqual(t, now, acked+6, "each message is acknowledged")
			require.Zero(t, left)
			h.mu.Lock()
			defer h.mu.Unlock()
			require.Contains(t, h.changes, sdk.AccountChange{State: account.StateReconnecting, Reason: account.ReasonStoreRefused})
		})
	}
}

// A failing device store must not look like a bad message: nothing is acknowledged,
// nobody is asked to send again, and the next connection gets it.
func TestEachDeviceStoreMethodFailingOnceLosesNothing(t *testing.T) {
	onKeys(t, eachDeviceStoreMethodFailingOnceLosesNothing)
}

func eachDeviceStoreMethodFailingOnceLosesNothing(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	_, dev := h.pair("a", "15550001")
	old := h.phone("15550002")
	h.say(old, "15550001", "first")
	h.waitTexts("first")
	require.NoError(t, dev.WaitDrained(within(t)))

	// What a first and a later message call.
	n := 0
	newcomer := func() string { n++; return fmt.Sprint(16000000 + n) }
	calls := func(f func()) []string {
		before := h.faults.Calls()
		f()
		require.NoError(t, dev.WaitDrained(within(t)))
		var out []string
		for m, c := range h.faults.Calls() {
			if c > before[m] && !strings.Contains(m, "AppState") { // that is synchronised beside
				out = append(out, m)
			}
		}
		return out
	}
	want := []string{"first"}
	receive := func(say func(text string)) {
		text := fmt.Sprint("message ", len(want))
		want = append(want, text)
		say(text)
		h.waitTexts(want...)
	}
	fromNewcomer := func() { receive(func(s string) { h.say(h.phone(newcomer()), "15550001", s) }) }
	fromOld := func() { receive(func(s string) { h.say(old, "15550001", s) }) }
	for name, path := range map[string]func(){"first message": fromNewcomer, "later message": fromOld} {
		methods := calls(path)
		for range 2 { // what only some of them call belongs to what is synchronised beside, too
			again := calls(path)
			methods = slices.DeleteFunc(methods, func(m string) bool { return !slices.Contains(again, m) })
		}
		slices.Sort(methods)
		require.Contains(t, methods, "DoDecryptionTxn")
		require.Contains(t, methods, "PutSession")
		t.Log(name, methods)
		for _, method := range methods {
			t.Run(name+"/"+method, func(t *testing.T) {
				logins := dev.Logins()
				h.faults.Fail(method, 1)
				path()
				require.NoError(t, dev.WaitDrained(within(t)))
				h.wait("the fault", func() bool { return !h.faults.Pending(method) })
				h.wait("another login", func() bool { return dev.Logins() > logins })
				h.waitState("a", account.StateConnected, "")
			})
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range h.events {
		require.NotEqual(t, sdk.TypeUndecryptable, ev.Type, "a failing store was taken for a bad message")
	}
	require.Contains(t, h.changes, sdk.AccountChange{State: account.StateReconnecting, Reason: account.ReasonDeviceFailed})
	for key, count := range h.seen {
		require.LessOrEqual(t, count, 2, key)
	}
}
