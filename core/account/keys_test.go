package account_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/devices/devicetest"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// onKeys runs a story with the keys on each engine.
func onKeys(t *testing.T, story func(t *testing.T, keys func(*hub))) {
	t.Run("sqlite", func(t *testing.T) { story(t, func(*hub) {}) })
	t.Run("mongo", func(t *testing.T) { story(t, newMongoKeys(t).use) })
}

// mongoKeys is a database of the test's own, and what was asked of it.
type mongoKeys struct {
	client *mongo.Client
	name   string

	mu   sync.Mutex
	sent map[string]int
}

func newMongoKeys(t *testing.T) *mongoKeys {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") != "" {
			t.Fatal("REQUIRE_MONGO is set and MONGODB_URI is not")
		}
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	k := &mongoKeys{name: fmt.Sprintf("wildcat_test_%016x", rand.Uint64()), sent: map[string]int{}}
	var err error
	k.client, err = mongo.Connect(options.Client().ApplyURI(uri).SetRetryWrites(false).SetMonitor(&event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			if e.CommandName == "dropDatabase" {
				return
			}
			if err := devicetest.CheckCommand(e.CommandName, e.Command); err != nil {
				t.Error(err)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.sent[e.CommandName]++
		},
	}))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, k.client.Database(k.name).Drop(context.Background()))
		require.NoError(t, k.client.Disconnect(context.Background()))
	})
	return k
}

// use is an option of newHub.
func (k *mongoKeys) use(h *hub) {
	h.openKeys = func(deps devices.Deps) (*devices.Container, error) {
		return devices.OpenMongo(context.Background(), k.client.Database(k.name), deps)
	}
}

// count returns the commands that f makes, by name and in total.
func (k *mongoKeys) count(f func()) (total int, by map[string]int) {
	k.mu.Lock()
	k.sent = map[string]int{}
	k.mu.Unlock()
	f()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range k.sent {
		total += n
	}
	return total, k.sent
}

// One owner of a device has what it needs in memory: what remains is what must be durable.
// A message to a group has the sender's key besides the sessions, which go together.
func TestRoundTripsOfAMessage(t *testing.T) {
	for name, c := range map[string]struct {
		group         bool
		receive, send int
	}{
		"person": {receive: 3, send: 1},
		"group":  {group: true, receive: 3, send: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := newMongoKeys(t)
			h := newHub(t, k.use)
			_, dev := h.pair("a", "15550001")
			friend := h.phone("15550002")
			them, us := "15550002@s.whatsapp.net", "15550001"
			if c.group {
				group, err := friend.CreateGroup(within(t), "us", "15550001")
				require.NoError(t, err)
				them, us = group, group
			}
			receive, send := h.conversation(dev, friend, us, them)
			for range 3 { // both sides learn of each other
				receive()
				send()
			}
			// What was read is cleared with the next message, or a moment later when none comes.
			idle := func() { time.Sleep(400 * time.Millisecond) }
			idle()
			const n = 10
			total, by := k.count(func() {
				for range n {
					receive()
				}
				idle()
			})
			t.Logf("%d received: %v", n, by)
			require.LessOrEqual(t, total, c.receive*n)
			total, by = k.count(func() {
				for range n {
					send()
				}
			})
			t.Logf("%d sent: %v", n, by)
			require.LessOrEqual(t, total, c.send*n)
			require.GreaterOrEqual(t, by["update"], n, "the sessions are written before the message leaves")
		})
	}
}

// conversation returns how one message is received, and one sent, until all that follows
// from it is over.
func (h *hub) conversation(dev *simulator.Device, friend *simulator.Phone, us, them string) (receive, send func()) {
	t := h.t
	s, r := h.waitSender("a"), whatsapp.Renderer{}
	var want []string
	receive = func() {
		want = append(want, fmt.Sprint("message ", len(want)))
		h.say(friend, us, want[len(want)-1])
		h.waitTexts(want...)
		require.NoError(t, dev.WaitDrained(within(t)))
	}
	send = func() {
		to, payload, err := r.RenderText(them, "pong", nil, nil)
		require.NoError(t, err)
		id := r.NewID()
		_, err = s.Send(within(t), whatsapp.Outgoing{ID: id, To: to, Payload: payload})
		require.NoError(t, err)
		_, err = friend.WaitMessage(within(t), func(m simulator.Message) bool { return m.ID == id })
		require.NoError(t, err)
		h.wait("its receipt", func() bool {
			for _, ev := range h.events {
				if ev.Type == sdk.TypeReceipt && ev.Receipt.MessageIDs[0] == id && !ev.Receipt.FromMe {
					return true
				}
			}
			return false
		})
	}
	return receive, send
}

// The program dies between two writes of a decryption, whichever they are.
func TestADecryptionThatIsCutOffLosesNothing(t *testing.T) {
	h := newHub(t, newMongoKeys(t).use)
	_, dev := h.pair("a", "15550001")
	old := h.phone("15550002")
	var want []string
	say := func(p *simulator.Phone) {
		want = append(want, fmt.Sprint("message ", len(want)))
		h.say(p, "15550001", want[len(want)-1])
		h.waitTexts(want...)
		require.NoError(t, dev.WaitDrained(within(t)))
	}
	say(old)
	for n := range 5 {
		for name, p := range map[string]*simulator.Phone{"first message": h.phone(fmt.Sprint(16000000 + n)), "later message": old} {
			logins := dev.Logins()
			h.faults.Cut(n)
			say(p)
			require.False(t, h.faults.Uncut(), name)
			h.wait("another login", func() bool { return dev.Logins() > logins })
			h.waitState("a", "connected", "")
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range h.events {
		require.NotEqual(t, sdk.TypeUndecryptable, ev.Type, "a failing store was taken for a bad message")
	}
}

// A hub whose lease another one took, without knowing it, moves no session on.
func TestAHubWhoseKeysWereTakenOverDecryptsNothing(t *testing.T) {
	k := newMongoKeys(t)
	h := newHub(t, k.use)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")
	h.say(friend, "15550001", "first")
	h.waitTexts("first")
	require.NoError(t, dev.WaitDrained(within(t)))
	other, err := devices.OpenMongo(t.Context(), k.client.Database(k.name), devices.Deps{})
	require.NoError(t, err)
	_, err = other.Device(t.Context(), dev.JID().String(), devices.Owner{Account: "a", Epoch: 1 << 20})
	require.NoError(t, err)
	acked, _ := dev.Acked()
	h.say(friend, "15550001", "second")
	h.waitState("a", "reconnecting", "device_failed")
	now, _ := dev.Acked()
	require.Equal(t, acked, now)
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Equal(t, []string{"first"}, h.texts)
}
