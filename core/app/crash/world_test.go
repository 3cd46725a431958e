package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
)

const (
	strangers = 5
	batch     = 20
	patience  = 60 * time.Second
)

// world is a sandbox, a receiver, and hubs that come and go.
type world struct {
	dir      string
	exe      string
	database database
	lease    time.Duration // of several hubs
	phones   int           // of strangers
	log      string        // the crash points that were hit
	hubs     []*hub
	accounts []string
	sandbox  *scenario.Sandbox
	process  *scenario.Process
	hook     *scenario.Receiver
	asked    []question
}

// hub is one of those that share the database: a data folder in which processes live one after
// the other.
type hub struct {
	config string
	data   string
	lines  string // the example connector's file
	lives  []*journal
	// process is the one that runs, nil for none.
	process *scenario.Process
}

// question is what a stranger wrote to an account.
type question struct {
	text    string
	from    int
	account int
}

// place is where a world's hubs store, and how many they are.
type place struct {
	database database
	hubs     int
	accounts int
	lease    time.Duration
	phones   int // of strangers; 0 is a handful
}

func newWorld(ctx context.Context, t *testing.T, p programs, at place) (*world, error) {
	w := &world{dir: t.TempDir(), exe: p.exe, database: at.database, lease: at.lease, phones: cmp.Or(at.phones, strangers)}
	w.log = filepath.Join(w.dir, "crashes")
	var err error
	if w.process, err = scenario.StartProcess(ctx, scenario.Command{
		Name: "the sandbox", Exe: p.exe, Args: []string{"sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(w.dir, "sandbox"), "--exit-with-stdin"},
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
	for i := range at.hubs {
		if err := w.addHub(i, filepath.Join(source, "scripts", "ping.lua"), p.connector, at.hubs > 1); err != nil {
			return nil, err
		}
	}
	t.Cleanup(w.kill)
	for i := range w.phones {
		if err := w.sandbox.AddPhone(ctx, stranger(i), "Stranger"); err != nil {
			return nil, err
		}
	}
	return w, w.pair(ctx, at.accounts)
}

// addHub makes a hub's folder and configuration. Of several, the log is kept for the leases.
func (w *world) addHub(i int, rule, connector string, several bool) error {
	of := func(name string) string { return filepath.Join(w.dir, fmt.Sprintf("%s-%d", name, i+1)) }
	h := &hub{config: of("wildcat") + ".yaml", data: of("data"), lines: of("events") + ".jsonl"}
	cluster := ""
	if several {
		cluster = fmt.Sprintf("log: {level: debug, format: json}\ncluster: {lease: %s}\n", w.lease)
	}
	text := fmt.Sprintf(`server: {port: 0}
%s%swhatsapp: {network: sandbox, url: %q, reconnect: {min: 100ms, max: 1s}}
rules: {replies_per_minute: 6000, files: [{file: %q}]}
connectors: [{name: jsonl, use: %q, with: {path: %q}}]
`, w.database.yaml(), cluster, w.process.URL, rule, connector, h.lines)
	w.hubs = append(w.hubs, h)
	return os.WriteFile(h.config, []byte(text), 0o600)
}

// pair registers the webhook and pairs accounts, with all hubs, and stops them.
func (w *world) pair(ctx context.Context, accounts int) error {
	if err := w.startAll(ctx); err != nil {
		return err
	}
	rest := w.rest()
	secret, err := rest.AddWebhook(ctx, w.hook.URL)
	if err == nil {
		err = w.hook.SetSecret(secret)
	}
	for i := 0; i < accounts && err == nil; i++ {
		w.accounts = append(w.accounts, fmt.Sprintf("crash%d", i+1))
		if err = w.sandbox.AddPhone(ctx, number(i), "Owner"); err == nil {
			err = scenario.Pair(ctx, rest, w.sandbox, w.accounts[i], number(i))
		}
	}
	return err
}

func stranger(i int) string { return fmt.Sprintf("1555100%04d", i) }

func number(i int) string { return fmt.Sprintf("1555000%04d", i+1) }

// start starts a hub; at is where it is to kill itself, as "name:n", or "".
func (w *world) start(ctx context.Context, h *hub, at string) error {
	j := &journal{}
	p, err := scenario.StartProcess(ctx, scenario.Command{
		Name: "the hub", Exe: w.exe, Log: j,
		Args: []string{"serve", "--config", h.config, "--data", h.data, "--exit-with-stdin"},
		Env:  []string{"WILDCAT_CRASH_AT=" + at, "WILDCAT_CRASH_LOG=" + w.log},
	})
	h.lives = append(h.lives, j)
	if err != nil {
		j.end()
		return err
	}
	go func() {
		<-p.Done()
		j.end()
	}()
	h.process = p
	return nil
}

// startAll starts the hubs that do not run.
func (w *world) startAll(ctx context.Context) error {
	for _, h := range w.hubs {
		if h.process != nil {
			continue
		}
		if err := w.start(ctx, h, ""); err != nil {
			return err
		}
	}
	return nil
}

// dead notes that a hub's process has ended.
func (h *hub) dead() {
	h.lives[len(h.lives)-1].end()
	h.process = nil
}

func (h *hub) kill() {
	if h.process != nil {
		h.process.Kill()
		h.dead()
	}
}

func (h *hub) stop() error {
	if h.process == nil {
		return nil
	}
	err := h.process.Stop(15 * time.Second)
	h.dead()
	return err
}

func (w *world) kill() {
	for _, h := range w.hubs {
		h.kill()
	}
}

func (w *world) stopAll() error {
	var errs []error
	for _, h := range w.hubs {
		errs = append(errs, h.stop())
	}
	return errors.Join(errs...)
}

// rest talks to any hub that runs.
func (w *world) rest() *scenario.Hub {
	for _, h := range w.hubs {
		if h.process != nil {
			return scenario.NewHub(h.process.URL)
		}
	}
	return nil
}

// lives are all processes there were.
func (w *world) lives() []*journal {
	var all []*journal
	for _, h := range w.hubs {
		all = append(all, h.lives...)
	}
	return all
}

// ask has the strangers write n questions, each always to the same account.
func (w *world) ask(ctx context.Context, n int) error {
	list := make([]scenario.Outgoing, n)
	for i := range list {
		from := len(w.asked) % w.phones
		q := question{text: fmt.Sprintf("q%05d", len(w.asked)), from: from, account: from % len(w.accounts)}
		w.asked = append(w.asked, q)
		list[i] = scenario.Outgoing{From: stranger(q.from), To: number(q.account), Text: "!ping " + q.text}
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

// verify starts what does not run, waits until everything asked so far is settled, and checks
// the promise.
func (w *world) verify(ctx context.Context) error {
	if err := w.startAll(ctx); err != nil {
		return err
	}
	rest := w.rest()
	err := scenario.Until(ctx, patience, func() error { return w.check(ctx, rest) })
	if err == nil && len(w.hubs) > 1 {
		err = w.checkLeases(ctx)
	}
	return err
}
