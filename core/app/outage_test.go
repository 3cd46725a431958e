package app_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
	"github.com/wildcathub/wildcat/core/store/mongo/mongotest"
)

// backWithin is how soon after the database's return an account is connected again.
const backWithin = 5 * time.Second

// growth bounds, in KiB, how much more memory a hub holds at the end of an outage.
const growth = 48 << 10

// outage is something that happens to the database.
type outage struct {
	name       string
	begin, end func(*mongotest.Proxy)
	// reason is what the account shows; "" if it stays connected.
	reason string
	// least is how long the short form takes.
	least time.Duration
}

func outages() []outage {
	return []outage{
		{"gone", func(p *mongotest.Proxy) { p.Down(true) }, func(p *mongotest.Proxy) { p.Down(false) }, "store_unavailable", 6 * time.Second},
		{"silent", func(p *mongotest.Proxy) { p.Stall(true) }, func(p *mongotest.Proxy) { p.Stall(false) }, "store_unavailable", 9 * time.Second},
		{"failing over", (*mongotest.Proxy).StepDown, (*mongotest.Proxy).Allow, "store_unavailable", 4 * time.Second},
		{"full", func(p *mongotest.Proxy) { p.Refuse(mongotest.OutOfDiskSpace, mongotest.Writes()...) }, (*mongotest.Proxy).Allow, "store_full", 3 * time.Second},
		{"slow", func(p *mongotest.Proxy) { p.Slow(500 * time.Millisecond) }, func(p *mongotest.Proxy) { p.Slow(0) }, "", 4 * time.Second},
	}
}

// lasting is how long the database is away: WILDCAT_OUTAGE (such as 60s), or a short form.
func lasting(t *testing.T, short time.Duration) (d time.Duration, long bool) {
	t.Helper()
	text := os.Getenv("WILDCAT_OUTAGE")
	if text == "" {
		return short, false
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "WILDCAT_OUTAGE")
	return max(d, short), true
}

// The database fails in one way or another while phones write. Nothing is acknowledged
// that is not stored, so nothing is lost; the hub says what is the matter, and is back at
// once when the database is.
func TestOutagesOfTheDatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("the hub is a process of its own: this test under the race detector shows nothing more")
	}
	for _, o := range outages() {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			d, long := lasting(t, o.least)
			w := newOutageWorld(t, 1)
			batch := 12
			if long {
				batch = 150
			}
			w.ask(4)
			w.settled(30 * time.Second)
			before := w.hubs[0].Resident()
			o.begin(w.proxy)
			over := time.NewTimer(d)
			defer over.Stop()
			w.ask(batch)
			if o.reason == "" {
				w.staysConnected(over.C)
			} else {
				w.isDisconnected(o.reason)
				acked := w.device().Acked
				w.ask(batch)
				<-over.C
				dev := w.device()
				require.Equal(t, acked, dev.Acked, "what cannot be stored was acknowledged")
				require.GreaterOrEqual(t, dev.Pending, batch)
				require.NoError(t, w.shows(w.hubs[0], outageAccount(0), o.reason), "to the end")
			}
			if after := w.hubs[0].Resident(); before > 0 {
				t.Logf("resident memory: %d KiB before, %d KiB after %s", before, after, d)
				require.Less(t, after-before, int64(growth))
			}
			o.end(w.proxy)
			took := w.isBack(backWithin)
			t.Logf("back after %s", took.Round(time.Millisecond))
			w.settled(2 * time.Minute)
			if o.reason != "" {
				require.Contains(t, w.log.String(), "reason="+o.reason)
			}
		})
	}
}

// Who stops a machine waits for a hub only so long.
func TestAHubStopsInTimeThoughItsDatabaseIsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("the hub is a process of its own: this test under the race detector shows nothing more")
	}
	t.Parallel()
	w := newOutageWorld(t, 1)
	w.ask(4)
	w.settled(30 * time.Second)
	w.proxy.Stall(true)
	w.ask(4)
	begun := time.Now()
	err := w.hubs[0].Stop(20 * time.Second)
	require.Less(t, time.Since(begun), 12*time.Second, "%v", err)
}

// Two hubs whose leases have run out meanwhile share the accounts out again.
func TestHubsThatLostTheDatabaseTakeTheirAccountsAgain(t *testing.T) {
	d, long := lasting(t, 20*time.Second)
	if !long {
		t.Skip("leases run out after 12 s: make outage waits for it")
	}
	t.Parallel()
	w := newOutageWorld(t, 2)
	w.ask(4)
	w.settled(30 * time.Second)
	holders := w.holders()
	w.proxy.Down(true)
	over := time.NewTimer(d)
	defer over.Stop()
	w.ask(200)
	<-over.C
	for account, hub := range holders {
		require.NoError(t, w.shows(hub, account, "store_unavailable"), "it shows the account that was its")
	}
	w.proxy.Down(false)
	t.Logf("back after %s", w.isBack(backWithin).Round(time.Millisecond))
	w.settled(2 * time.Minute)
	require.Zero(t, w.replaced(), "an account was held twice")
}

// holders waits until each hub has an account, and tells who has which.
func (w *outageWorld) holders() map[string]*scenario.Process {
	w.t.Helper()
	out := map[string]*scenario.Process{}
	w.until(20*time.Second, func() error {
		busy := map[*scenario.Process]bool{}
		for i := range w.hubs {
			url, err := scenario.NewHub(w.hubs[0].URL).Holder(w.t.Context(), outageAccount(i))
			if err != nil {
				return err
			}
			for _, h := range w.hubs {
				if h.URL == url {
					out[outageAccount(i)], busy[h] = h, true
				}
			}
		}
		if len(busy) != len(w.hubs) {
			return errors.New("the accounts are not shared out yet")
		}
		return nil
	})
	return out
}

// isDisconnected waits until the hub has hung up, and says so wherever it is asked.
func (w *outageWorld) isDisconnected(reason string) {
	w.t.Helper()
	w.until(15*time.Second, func() error { return w.shows(w.hubs[0], outageAccount(0), reason) })
	w.until(5*time.Second, func() error {
		if w.device().Online {
			return errors.New("the account is still connected")
		}
		return nil
	})
}

// shows checks what a hub tells about itself and its account.
func (w *outageWorld) shows(hub *scenario.Process, account, reason string) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	h := scenario.NewHub(hub.URL)
	var out struct {
		Account struct{ State, Reason string }
	}
	if err := h.Get(ctx, "/accounts/"+account, &out); err != nil {
		return err
	}
	if out.Account.State != "reconnecting" || out.Account.Reason != reason {
		return fmt.Errorf("the account is %s (%s)", out.Account.State, out.Account.Reason)
	}
	var status *scenario.StatusError
	if err := h.Get(ctx, "/readyz", nil); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
		return fmt.Errorf("readyz: %w", err)
	}
	if !strings.Contains(status.Body, "the database cannot be written since") {
		return fmt.Errorf("readyz gives no reason: %s", status.Body)
	}
	return nil
}

// isBack waits until all accounts are connected and all hubs ready.
func (w *outageWorld) isBack(within time.Duration) time.Duration {
	w.t.Helper()
	start := time.Now()
	w.until(within, func() error {
		for i := range w.hubs {
			h := scenario.NewHub(w.hubs[i].URL)
			if err := h.Get(w.t.Context(), "/readyz", nil); err != nil {
				return err
			}
			for k := range w.hubs {
				if s, _, err := h.Status(w.t.Context(), outageAccount(k)); err != nil || s != "connected" {
					return fmt.Errorf("%s is %s: %w", outageAccount(k), s, err)
				}
			}
		}
		return nil
	})
	return time.Since(start)
}

// staysConnected watches the account for a while.
func (w *outageWorld) staysConnected(over <-chan time.Time) {
	w.t.Helper()
	logins := w.device().Logins
	<-over
	dev := w.device()
	require.True(w.t, dev.Online)
	require.Equal(w.t, logins, dev.Logins, "it was connected all the time")
	require.NoError(w.t, scenario.NewHub(w.hubs[0].URL).Get(w.t.Context(), "/readyz", nil))
}
