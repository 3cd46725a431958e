package simulator_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func snapshotOf(t testing.TB, s *simulator.Server) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, s.Snapshot(&out))
	return out.Bytes()
}

func TestPairedDevicesGoOnOnAServerThatWasRestoredFromASnapshot(t *testing.T) {
	long(t)
	for _, from := range []string{"memory", "folder"} {
		for _, into := range []string{"memory", "folder"} {
			t.Run(from+" to "+into, func(t *testing.T) {
				dir := map[string]string{"memory": "", "folder": t.TempDir()}[from]
				first := newServer(t, dir)
				ctx := simtest.Within(t, 60*time.Second)
				owner, friend := simtest.AddPhone(t, first, "15550001"), simtest.AddPhone(t, first, "15550002")
				c, d := paired(t, first, owner)
				one := c.send("15550002", "one")
				_, err := friend.WaitReceived(ctx, 1)
				require.NoError(t, err)
				c.waitDelivered(one) // it would wait with what comes later
				sent, err := friend.SendText(ctx, "15550001", "two")
				require.NoError(t, err)
				c.waitTexts(1)
				require.NoError(t, d.WaitDrained(ctx))
				c.Disconnect()
				require.NoError(t, d.WaitOffline(ctx))
				for i := range 5 {
					id, err := friend.SendText(ctx, "15550001", fmt.Sprint("waits ", i))
					require.NoError(t, err)
					require.NoError(t, friend.WaitDelivery(ctx, id, func(n int, _ bool) bool { return n == 1 }), "at the owner's phone")
				}
				keys := d.PreKeys()
				taken := snapshotOf(t, first)
				require.Eventually(t, func() bool { // once the phones have nothing to do
					before := taken
					taken = snapshotOf(t, first)
					return bytes.Equal(before, taken) && first.Device("15550001").Pending() == 0 && first.Device("15550002").Pending() == 0
				}, 10*time.Second, 10*time.Millisecond)
				_, err = friend.SendText(ctx, "15550001", "after the snapshot")
				require.NoError(t, err)

				opts := simulator.Options{Snapshot: bytes.NewReader(taken)}
				if into == "folder" {
					opts.Dir = t.TempDir()
					require.NoError(t, simulator.Restore(opts.Dir, opts.Snapshot))
					require.ErrorIs(t, simulator.Restore(opts.Dir, bytes.NewReader(taken)), simulator.ErrNotEmpty)
					opts.Snapshot = nil
				}
				second := newServerWith(t, opts)
				require.Equal(t, first.RootKey(), second.RootKey())
				require.True(t, bytes.Equal(taken, snapshotOf(t, second)), "the same state is the same snapshot")
				d = second.Device(d.JID().String())
				require.Equal(t, keys, d.PreKeys())
				require.Equal(t, 5, d.Pending())
				friend = second.Phone("15550002")
				require.Equal(t, "one", friend.Received(0)[0].Text)
				devices, _ := friend.Delivery(sent)
				require.Equal(t, []string{d.JID().String(), "15550001@s.whatsapp.net"}, devices)
				c.s = second
				c.renew(true)
				c.Forget()
				require.NoError(t, c.Connect())
				require.Equal(t, []string{"two", "waits 0", "waits 1", "waits 2", "waits 3", "waits 4"}, c.waitTexts(6))
				c.send("15550002", "on the second")
				list, err := friend.WaitReceived(ctx, 2)
				require.NoError(t, err)
				require.Equal(t, "on the second", list[1].Text)
				require.NoError(t, d.WaitDrained(ctx))
			})
		}
	}
}

// While companions and phones write to each other, a snapshot is of one instant: whatever a
// phone holds in it was taken out of its queue, and the other way round.
func TestASnapshotOfARunningServerIsOfOneInstant(t *testing.T) {
	long(t)
	s := newServer(t, t.TempDir())
	ctx := simtest.Within(t, 60*time.Second)
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, _ := paired(t, s, owner)
	const total = 200
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range total {
			if _, err := owner.SendText(ctx, "15550002", fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		}
	}()
	for taken := 0; ; {
		snapshot := snapshotOf(t, s)
		restored, err := simulator.New(simulator.Options{Snapshot: bytes.NewReader(snapshot)})
		require.NoError(t, err)
		// Not started: nobody empties a queue, so each message is shown or waits.
		shown := restored.Phone("15550002").Received(0)
		waits := restored.Device("15550002").Pending()
		sent := len(restored.Phone("15550001").Messages("15550002"))
		require.NoError(t, restored.Close())
		require.Equal(t, sent, len(shown)+waits)
		for i, m := range shown {
			require.Equal(t, fmt.Sprint(i), m.Text)
		}
		require.GreaterOrEqual(t, sent, taken)
		if taken = sent; taken == total {
			break
		}
	}
	<-done
	_, err := friend.WaitReceived(ctx, total)
	require.NoError(t, err)
	c.waitTexts(total)
}

func TestWhatIsNoWholeSnapshotIsRefused(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	whole := snapshotOf(t, s)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, text := range map[string][]byte{
		"empty": nil, "another file": []byte("PK\x03\x04 and so on, for long enough to be something"),
		"cut off": whole[:len(whole)-1], "cut off at a record": whole[:len(whole)-17], "one bit": flipped,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.ErrorIs(t, simulator.Restore(dir, bytes.NewReader(text)), simulator.ErrSnapshot)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left)
			require.NoError(t, simulator.Restore(dir, bytes.NewReader(whole)), "the refused one left nothing")
		})
	}
}

func TestAMemoryServerThatIsClosedTakesNothing(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	c, _ := paired(t, s, s.Phone("15550001"))
	waitEvent(c, simtest.AnyOf[*events.Connected])
	require.NoError(t, s.Close())
	_, err := s.Phone("15550001").SendText(t.Context(), "15550001", "late")
	require.Error(t, err)
	require.NoError(t, s.Snapshot(new(bytes.Buffer)), "what it had may still be kept")
}
