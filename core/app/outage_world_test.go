package app_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/store/mongo/mongotest"
)

// outageWorld is hubs whose database is behind a proxy, with an account each, phones that
// write to all of them, and a webhook receiver.
type outageWorld struct {
	t       *testing.T
	proxy   *mongotest.Proxy
	process *scenario.Process
	sandbox *scenario.Sandbox
	hook    *scenario.Receiver
	hubs    []*scenario.Process
	log     logBuffer
	asked   []string
}

func outageAccount(i int) string { return fmt.Sprintf("shop%d", i) }
func outageNumber(i int) string  { return fmt.Sprintf("1555000%04d", i) }
func outageFriend(i int) string  { return fmt.Sprintf("1555100%04d", i) }

// outageFriends is how many phones write.
const outageFriends = 4

// logBuffer keeps what hubs log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newOutageWorld(t *testing.T, hubs int) *outageWorld {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		require.Empty(t, os.Getenv("REQUIRE_MONGO"), "REQUIRE_MONGO is set and MONGODB_URI is not")
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	w := &outageWorld{t: t}
	name := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
	t.Cleanup(func() { require.NoError(t, mongo.Drop(context.Background(), uri, name)) })
	var err error
	w.proxy, err = mongotest.Start(uri)
	if errors.Is(err, mongotest.ErrUnsuitable) {
		t.Skip(err.Error())
	}
	require.NoError(t, err)
	t.Cleanup(w.proxy.Close)
	dir := t.TempDir()
	exe := filepath.Join(binaries, exeName("wildcat"))
	w.process, err = scenario.StartProcess(t.Context(), scenario.Command{
		Name: "the sandbox", Exe: exe, Args: []string{"sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "sandbox"), "--exit-with-stdin"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.process.Stop(10 * time.Second) })
	w.sandbox = scenario.NewSandbox(w.process.URL)
	w.hook, err = scenario.StartReceiver()
	require.NoError(t, err)
	t.Cleanup(w.hook.Close)
	source, err := scenario.SourceDir(t.Context())
	require.NoError(t, err)
	config := filepath.Join(dir, "wildcat.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `server: {port: 0}
database: {uri: %q, name: %q}
whatsapp: {network: sandbox, url: %q}
rules: {replies_per_minute: 6000, files: [{file: %q}]}
`, w.proxy.URI, name, w.process.URL, filepath.Join(source, "scripts", "ping.lua")), 0o600))
	for i := range outageFriends {
		require.NoError(t, w.sandbox.AddPhone(t.Context(), outageFriend(i), "Friend"))
	}
	for i := range hubs {
		hub, err := scenario.StartProcess(t.Context(), scenario.Command{
			Name: "the hub", Exe: exe, Log: &w.log, Dir: dir,
			Args: []string{"serve", "--config", config, "--data", filepath.Join(dir, fmt.Sprint("data", i)), "--exit-with-stdin"},
		})
		require.NoError(t, err)
		t.Cleanup(func() { _ = hub.Stop(20 * time.Second) })
		w.hubs = append(w.hubs, hub)
	}
	first := scenario.NewHub(w.hubs[0].URL)
	secret, err := first.AddWebhook(t.Context(), w.hook.URL)
	require.NoError(t, err)
	require.NoError(t, w.hook.SetSecret(secret))
	for i := range hubs {
		require.NoError(t, w.sandbox.AddPhone(t.Context(), outageNumber(i), "Owner"))
		require.NoError(t, scenario.Pair(t.Context(), first, w.sandbox, outageAccount(i), outageNumber(i)))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the hubs said:\n%s", w.log.String())
		}
	})
	return w
}

// ask has the phones write n questions, to one account after the other.
func (w *outageWorld) ask(n int) {
	w.t.Helper()
	batch := make([]scenario.Outgoing, n)
	for i := range batch {
		q := fmt.Sprintf("q%05d", len(w.asked))
		batch[i] = scenario.Outgoing{From: outageFriend(i % outageFriends), To: outageNumber(len(w.asked) % len(w.hubs)), Text: "!ping " + q}
		w.asked = append(w.asked, q)
	}
	require.NoError(w.t, w.sandbox.SendBatch(w.t.Context(), batch))
}

func (w *outageWorld) until(d time.Duration, check func() error) {
	w.t.Helper()
	require.NoError(w.t, scenario.Until(w.t.Context(), d, check))
}

// settled waits until all questions are stored once, answered once, and delivered once
// and in order.
func (w *outageWorld) settled(within time.Duration) {
	w.t.Helper()
	w.until(within, w.check)
	broken, err := w.sandbox.Violations(w.t.Context())
	require.NoError(w.t, err)
	// After pairing whatsmeow asks its phone for several keys at once, and may encrypt two of
	// these requests with one step of a session. Nothing that anybody wrote is among them.
	broken = slices.DeleteFunc(broken, func(v string) bool {
		for i := range w.hubs {
			n := outageNumber(i)
			if strings.HasPrefix(v, "ciphertext counter repeated: "+n+":") && strings.Contains(v, " to "+n+"@") {
				return true
			}
		}
		return false
	})
	require.Empty(w.t, broken)
}

func (w *outageWorld) check() error {
	var want []string
	for _, q := range w.asked {
		want = append(want, "pong "+q)
	}
	var phones [][]scenario.Received
	for i := range outageFriends {
		got, err := w.sandbox.Received(w.t.Context(), outageFriend(i))
		if err != nil {
			return err
		}
		phones = append(phones, got)
	}
	answers := scenario.CountAnswers(phones...)
	if err := scenario.CheckAnswers(answers, want); err != nil {
		return err
	}
	require.Zero(w.t, answers.Copies, "an answer came twice")
	stored := map[string]bool{}
	var ids []string
	for i := range w.hubs {
		list, err := scenario.NewHub(w.hubs[0].URL).Messages(w.t.Context(), outageAccount(i))
		if err != nil {
			return err
		}
		for _, m := range list {
			if q, ok := strings.CutPrefix(m.Text, "!ping "); ok && !m.FromMe {
				if stored[q] { // once more, if it is only a page that has moved on meanwhile
					return fmt.Errorf("%s is stored twice", q)
				}
				stored[q] = true
				ids = append(ids, m.EventID)
			}
		}
	}
	if len(stored) != len(w.asked) {
		return fmt.Errorf("%d of %d questions are stored", len(stored), len(w.asked))
	}
	require.Empty(w.t, w.hook.Bad())
	repeated, err := scenario.CheckArrivals(w.hook.Arrivals(), ids)
	if err == nil {
		// What was delivered at the moment in which the database went, its outcome not written
		// before the lease ran out, is delivered again: one of each chat can be under way.
		require.LessOrEqual(w.t, repeated, outageFriends*len(w.hubs), "deliveries came twice")
	}
	return err
}

// outageDevice is how the sandbox sees the first account's device.
type outageDevice struct {
	JID     string `json:"jid"`
	Online  bool   `json:"online"`
	Pending int    `json:"pending"`
	Acked   uint64 `json:"acked"`
	Logins  uint64 `json:"logins"`
}

func (w *outageWorld) device() outageDevice {
	w.t.Helper()
	var out struct {
		Devices []outageDevice `json:"devices"`
	}
	require.NoError(w.t, scenario.NewHub(w.process.URL).Get(w.t.Context(), "/sandbox/devices", &out))
	for _, d := range out.Devices {
		if strings.HasPrefix(d.JID, outageNumber(0)+":") {
			return d
		}
	}
	w.t.Fatal("the account has no device")
	return outageDevice{}
}

// replaced is how often the sandbox saw a second connection with the same keys.
func (w *outageWorld) replaced() int {
	w.t.Helper()
	var out struct {
		Replaced int `json:"replaced"`
	}
	require.NoError(w.t, scenario.NewHub(w.process.URL).Get(w.t.Context(), "/sandbox/stats", &out))
	return out.Replaced
}
