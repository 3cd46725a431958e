package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
	"github.com/wildcathub/wildcat/core/store/mongo"
)

const (
	account   = "crash"
	number    = "15550000001"
	strangers = 5
	batch     = 20
	patience  = 60 * time.Second
)

// world is a sandbox, a receiver, and a hub that comes and goes.
type world struct {
	dir     string
	exe     string
	config  string
	log     string // the crash points that were hit
	lines   string // the example connector's file
	hubLog  bytes.Buffer
	sandbox *scenario.Sandbox
	process *scenario.Process
	hook    *scenario.Receiver
	asked   []string
}

// database is the part of the configuration that says where the hub stores: in a MongoDB
// database of the story's own where WILDCAT_CRASH_DATABASE names a server, else in a file.
func database(t *testing.T) string {
	uri := os.Getenv("WILDCAT_CRASH_DATABASE")
	if uri == "" {
		return ""
	}
	name := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
	t.Cleanup(func() {
		if err := mongo.Drop(context.Background(), uri, name); err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("database: {uri: %q, name: %q}\n", uri, name)
}

func newWorld(ctx context.Context, t *testing.T, exe, connector string) (*world, error) {
	w := &world{dir: t.TempDir(), exe: exe}
	w.log = filepath.Join(w.dir, "crashes")
	w.lines = filepath.Join(w.dir, "events.jsonl")
	w.config = filepath.Join(w.dir, "wildcat.yaml")
	var err error
	if w.process, err = scenario.StartProcess(ctx, scenario.Command{
		Name: "the sandbox", Exe: exe, Args: []string{"sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(w.dir, "sandbox"), "--exit-with-stdin"},
	}); err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = w.process.Stop(10 * time.Second) })
	w.sandbox = scenario.NewSandbox(w.process.URL)
	if w.hook, err = scenario.StartReceiver(); err != nil {
		return nil, err
	}
	t.Cleanup(w.hook.Close)
	source, err := scenario.SourceDir(ctx)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`server: {port: 0}
%swhatsapp: {network: sandbox, url: %q, reconnect: {min: 100ms, max: 1s}}
rules: {replies_per_minute: 6000, files: [{file: %q}]}
connectors: [{name: jsonl, use: %q, with: {path: %q}}]
`, database(t), w.process.URL, filepath.Join(source, "scripts", "ping.lua"), connector, w.lines)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	for i := range strangers {
		if err := w.sandbox.AddPhone(ctx, stranger(i), "Stranger"); err != nil {
			return nil, err
		}
	}
	if err := w.sandbox.AddPhone(ctx, number, "Owner"); err != nil {
		return nil, err
	}
	p, err := w.start(ctx, "")
	if err != nil {
		return nil, err
	}
	hub := scenario.NewHub(p.URL)
	secret, err := hub.AddWebhook(ctx, w.hook.URL)
	if err == nil {
		err = w.hook.SetSecret(secret)
	}
	if err == nil {
		err = scenario.Pair(ctx, hub, w.sandbox, account, number)
	}
	return w, errors.Join(err, p.Stop(15*time.Second))
}

func stranger(i int) string { return fmt.Sprintf("1555100%04d", i) }

// start starts the hub; at is where it is to kill itself, as "name:n", or "".
func (w *world) start(ctx context.Context, at string) (*scenario.Process, error) {
	return scenario.StartProcess(ctx, scenario.Command{
		Name: "the hub", Exe: w.exe, Log: &lockedWriter{w: &w.hubLog},
		Args: []string{"serve", "--config", w.config, "--data", filepath.Join(w.dir, "data"), "--exit-with-stdin"},
		Env:  []string{"WILDCAT_CRASH_AT=" + at, "WILDCAT_CRASH_LOG=" + w.log},
	})
}

// ask has the strangers write a batch of questions.
func (w *world) ask(ctx context.Context) error {
	list := make([]scenario.Outgoing, batch)
	for i := range list {
		q := fmt.Sprintf("q%05d", len(w.asked))
		w.asked = append(w.asked, q)
		list[i] = scenario.Outgoing{From: stranger(i % strangers), To: number, Text: "!ping " + q}
	}
	return w.sandbox.SendBatch(ctx, list)
}

// hits counts the kills per named point.
func (w *world) hits() map[string]int {
	out := map[string]int{}
	text, err := os.ReadFile(w.log)
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(text)) {
		out[strings.TrimSpace(line)]++
	}
	return out
}

func (w *world) killed() int {
	n := 0
	for _, c := range w.hits() {
		n += c
	}
	return n
}

// verify starts the hub once more, waits until everything asked so far is settled,
// and checks the promise.
func (w *world) verify(ctx context.Context) error {
	p, err := w.start(ctx, "")
	if err != nil {
		return err
	}
	hub := scenario.NewHub(p.URL)
	err = scenario.Until(ctx, patience, func() error { return w.check(ctx, hub) })
	return errors.Join(err, p.Stop(15*time.Second))
}

func (w *world) check(ctx context.Context, hub *scenario.Hub) error {
	list, err := hub.Messages(ctx, account)
	if err != nil {
		return err
	}
	var ids []string
	event := map[string]string{}
	for _, m := range list {
		if q, ok := strings.CutPrefix(m.Text, "!ping "); ok && !m.FromMe {
			if event[q] != "" {
				return fmt.Errorf("%s is stored twice", q)
			}
			event[q] = m.EventID
			ids = append(ids, m.EventID)
		}
	}
	if len(ids) != len(w.asked) {
		return fmt.Errorf("%d of %d questions are stored", len(ids), len(w.asked))
	}
	if err := w.checkAnswers(ctx, hub, event); err != nil {
		return err
	}
	if bad := w.hook.Bad(); len(bad) > 0 {
		return errors.New(bad[0])
	}
	if _, err := scenario.CheckArrivals(w.hook.Arrivals(), ids); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	lines, err := scenario.ReadLines(w.lines)
	if err != nil {
		return err
	}
	if _, err := scenario.CheckArrivals(lines, ids); err != nil {
		return fmt.Errorf("connector: %w", err)
	}
	broken, err := w.sandbox.Violations(ctx)
	if err == nil && len(broken) > 0 {
		err = errors.New(strings.Join(broken, "; "))
	}
	return err
}

// checkAnswers: each question has one answer on the phones, and a further copy of an
// answer came at most once for each attempt after the first, which is written down
// before the stanza leaves.
func (w *world) checkAnswers(ctx context.Context, hub *scenario.Hub, event map[string]string) error {
	want := make([]string, len(w.asked))
	for i, q := range w.asked {
		want[i] = "pong " + q
	}
	var phones [][]scenario.Received
	for i := range strangers {
		got, err := w.sandbox.Received(ctx, stranger(i))
		if err != nil {
			return err
		}
		phones = append(phones, got)
	}
	if err := scenario.CheckAnswers(scenario.CountAnswers(phones...), want); err != nil {
		return err
	}
	for _, list := range phones {
		for _, m := range list {
			if m.Copies <= 1 {
				continue
			}
			q := strings.TrimPrefix(m.Text, "pong ")
			tr, err := hub.Trace(ctx, event[q])
			if err != nil {
				return err
			}
			if len(tr.Sends) != 1 || tr.Sends[0].State != "sent" || m.Copies > tr.Sends[0].Attempt {
				return fmt.Errorf("%s came %d times, which its sends do not account for: %+v", m.Text, m.Copies, tr.Sends)
			}
		}
	}
	return nil
}
