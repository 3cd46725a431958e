package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/scenario"
)

func newDemoCommand() *cobra.Command {
	var keep, verbose bool
	var database string
	var hubs int
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job end to end, with a simulated WhatsApp and no phone",
		Long: "Starts a simulated WhatsApp and the hub as processes of their own in a temporary folder, pairs an account,\n" +
			"has a Lua rule answer a stranger, delivers to a webhook and to a connector program, and then kills the hub\n" +
			"in the middle of 200 messages to show that none is lost and each is answered once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hubs < 1 || hubs > 8 || hubs > 1 && database == "" {
				return errors.New("--hubs is 1 to 8, and several of them share a --database mongodb://…")
			}
			return runDemo(cmd.Context(), cmd.OutOrStdout(), database, hubs, keep, verbose)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave it running, and say what to open and try")
	cmd.Flags().StringVar(&database, "database", "",
		"mongodb://… to store there, in a database of its own that is dropped in the end (default SQLite in the temporary folder)")
	cmd.Flags().IntVar(&hubs, "hubs", 1, "how many hubs share the database; the one that holds the account is killed, and another takes over")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "also print what the hub and the sandbox log")
	return cmd
}

const (
	demoAccount   = "demo"
	demoNumber    = "15550000001"
	demoQuestions = 200
	demoStrangers = 10
	// The kill counts only between these replies; it is aimed well inside of them.
	demoKillAfter  = 40
	demoKillAt     = 60
	demoKillBefore = 160
)

// demo is the state that the steps hand on to each other.
type demo struct {
	out      io.Writer
	log      io.Writer
	dir      string
	exe      string
	database demoDatabase
	steps    int
	started  time.Time

	receiver *scenario.Receiver
	sandboxP *scenario.Process
	hubs     int
	hubPs    []*scenario.Process // that run
	sandbox  *scenario.Sandbox
	hub      *scenario.Hub
	killed   time.Time
	// uncertain is how many sends the second hub found uncertain and repeated.
	uncertain int
}

// step runs one step and prints its line.
func (d *demo) step(what string, do func() (string, error)) error {
	start := time.Now()
	note, err := do()
	if err != nil {
		_, _ = fmt.Fprintf(d.out, "FAIL %s: %v\n", what, err)
		return err
	}
	if note != "" {
		what += ": " + note
	}
	d.steps++
	_, _ = fmt.Fprintf(d.out, "ok   %s (%s)\n", what, time.Since(start).Round(time.Millisecond))
	return nil
}

func runDemo(ctx context.Context, out io.Writer, database string, hubs int, keep, verbose bool) error {
	d := &demo{out: out, database: newDemoDatabase(database), hubs: hubs, started: time.Now()}
	if verbose {
		d.log = os.Stderr
	}
	err := d.run(ctx)
	if err == nil && keep {
		d.invite(ctx)
	}
	cerr := d.close()
	if err = errors.Join(err, cerr); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		_, _ = fmt.Fprintf(out, "demo failed: %s\n", first)
		return errReported
	}
	_, _ = fmt.Fprintf(out, "demo passed: %d steps\n", d.steps)
	return nil
}

func (d *demo) run(ctx context.Context) error {
	type step struct {
		what string
		do   func(context.Context) (string, error)
	}
	start, again := step{"start the hub, a process of its own", d.startHubs}, step{"start the hub again", d.startHubs}
	if d.hubs > 1 {
		start.what = fmt.Sprintf("start %d hubs on one database, processes of their own", d.hubs)
		again = step{"another hub takes the account over", d.takenOver}
	}
	steps := []step{
		{"prepare a folder, and build the example connector into it", d.prepare},
		{"start the simulated WhatsApp, a process of its own", d.startSandbox},
		start,
		{"start a webhook receiver and register it over REST", d.startReceiver},
		{"create an account over REST; the simulated phone scans its QR code", d.pair},
		{"a stranger writes \"!ping hello\"; the phone shows \"pong hello\"", d.firstPing},
		{"the receiver verified the event's signature", d.receiverHasPing},
		{"the connector program wrote the event to its file", d.connectorHasPing},
		{"the trace shows every stage of the message", d.tracePing},
		{fmt.Sprintf("%d messages from %d strangers; the hub is killed with SIGKILL in the middle", demoQuestions, demoStrangers), d.killInTheMiddle},
		again,
		{fmt.Sprintf("all %d messages are stored", demoQuestions), d.allStored},
		{"each is answered once on the phones", d.allAnswered},
		{"the webhook got all, in each chat's order", d.receiverHasAll},
		{"the connector program got all, in each chat's order", d.connectorHasAll},
		{"the simulated WhatsApp saw no protocol rule broken", d.invariants},
	}
	for _, s := range steps {
		if err := d.step(s.what, func() (string, error) { return s.do(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) close() error {
	var errs []error
	for _, p := range d.hubPs {
		errs = append(errs, p.Stop(15*time.Second))
	}
	if d.sandboxP != nil {
		errs = append(errs, d.sandboxP.Stop(15*time.Second))
	}
	if d.receiver != nil {
		d.receiver.Close()
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	if d.hub != nil {
		errs = append(errs, d.database.drop())
	}
	return errors.Join(errs...)
}

func (d *demo) prepare(ctx context.Context) (string, error) {
	var err error
	if d.exe, err = os.Executable(); err != nil {
		return "", err
	}
	source, err := scenario.SourceDir(ctx)
	if err != nil {
		return "", err
	}
	if d.dir, err = os.MkdirTemp("", "wildcat-demo-"); err != nil {
		return "", err
	}
	program, err := scenario.BuildConnector(ctx, source, d.dir)
	if err != nil {
		return "", err
	}
	rule, err := os.ReadFile(filepath.Join(source, "scripts", "ping.lua"))
	if err != nil {
		return "", err
	}
	return "", errors.Join(
		os.WriteFile(filepath.Join(d.dir, "ping.lua"), rule, 0o600),
		os.WriteFile(filepath.Join(d.dir, "connector.path"), []byte(program), 0o600),
	)
}

func (d *demo) startSandbox(ctx context.Context) (string, error) {
	p, err := scenario.StartProcess(ctx, scenario.Command{
		Name: "the sandbox", Exe: d.exe, Log: d.log,
		Args: []string{"sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(d.dir, "sandbox"), "--exit-with-stdin"},
	})
	if err != nil {
		return "", err
	}
	d.sandboxP, d.sandbox = p, scenario.NewSandbox(p.URL)
	var errs []error
	for i := range d.hubs {
		errs = append(errs, d.writeConfig(i, p.URL))
	}
	return p.URL, errors.Join(errs...)
}

// of names what belongs to the i-th hub.
func (d *demo) of(i int, name, suffix string) string {
	if d.hubs > 1 {
		name = fmt.Sprintf("%s-%d", name, i+1)
	}
	return filepath.Join(d.dir, name+suffix)
}

func (d *demo) writeConfig(i int, sandbox string) error {
	program, err := os.ReadFile(filepath.Join(d.dir, "connector.path"))
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`# The demo's configuration; wildcat.yaml at the top of the repository shows every key.
server: {port: 0}
%swhatsapp: {network: sandbox, url: %q}
rules:
  files:
    - file: ping.lua
connectors:
  - name: jsonl
    use: %q
    with: {path: %q}
`, d.database.yaml(), sandbox, program, d.of(i, "events", ".jsonl"))
	return os.WriteFile(d.of(i, "wildcat", ".yaml"), []byte(text), 0o600)
}

func (d *demo) startHubs(ctx context.Context) (string, error) {
	var at []string
	for i := range d.hubs {
		p, err := scenario.StartProcess(ctx, scenario.Command{
			Name: "the hub", Exe: d.exe, Log: d.log,
			Args: []string{
				"serve", "--config", d.of(i, "wildcat", ".yaml"), "--data", d.of(i, "data", ""), "--exit-with-stdin",
			},
		})
		if err != nil {
			return "", err
		}
		d.hubPs = append(d.hubPs, p)
		at = append(at, fmt.Sprintf("%s, pid %d", p.URL, p.PID()))
	}
	d.hub = scenario.NewHub(d.hubPs[0].URL)
	return strings.Join(at, "; "), nil
}

// holder is the index in hubPs of the hub that holds the account.
func (d *demo) holder(ctx context.Context) (int, error) {
	if d.hubs == 1 {
		return 0, nil
	}
	at, err := d.hub.Holder(ctx, demoAccount)
	if err != nil {
		return 0, err
	}
	if i := slices.IndexFunc(d.hubPs, func(p *scenario.Process) bool { return p.URL == at }); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("no hub that runs holds the account: %q", at)
}

// takenOver waits until one of the hubs that are left holds the account.
func (d *demo) takenOver(ctx context.Context) (string, error) {
	var i int
	err := scenario.Until(ctx, d.patience(), func() (err error) {
		i, err = d.holder(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, %s after the kill", d.hubPs[i].URL, time.Since(d.killed).Round(100*time.Millisecond)), nil
}

func (d *demo) startReceiver(ctx context.Context) (string, error) {
	r, err := scenario.StartReceiver()
	if err != nil {
		return "", err
	}
	d.receiver = r
	secret, err := d.hub.AddWebhook(ctx, r.URL)
	if err != nil {
		return "", err
	}
	return r.URL, r.SetSecret(secret)
}

// stranger is the number of the i-th stranger.
func stranger(i int) string { return fmt.Sprintf("1555100%04d", i) }

func (d *demo) pair(ctx context.Context) (string, error) {
	if err := d.sandbox.AddPhone(ctx, demoNumber, "Owner"); err != nil {
		return "", err
	}
	for i := range demoStrangers {
		if err := d.sandbox.AddPhone(ctx, stranger(i), fmt.Sprintf("Stranger %d", i)); err != nil {
			return "", err
		}
	}
	return "+" + demoNumber, scenario.Pair(ctx, d.hub, d.sandbox, demoAccount, demoNumber)
}

// invite says what to try, and waits until the user has had enough.
func (d *demo) invite(ctx context.Context) {
	_, _ = fmt.Fprintf(d.out, `
All %[7]d steps passed. Everything is left running. Try:
  curl %[1]s/accounts
  curl '%[1]s/messages?limit=5'
  curl -X POST %[1]s/accounts/%[3]s/message/send -H 'Content-Type: application/json' -d '{"to":"%[4]s","message":"hello"}'
  curl -X POST %[2]s/sandbox/phones/%[4]s/send -H 'Content-Type: application/json' -d '{"to":"%[5]s","text":"!ping again"}'
  curl %[2]s/sandbox/phones/%[4]s/received
  curl %[1]s/metrics
The configuration, the data and the connector's file are in %[6]s
Press Ctrl-C to end it.
`, d.hubPs[0].URL, d.sandboxP.URL, demoAccount, stranger(0), demoNumber, d.dir, d.steps)
	select {
	case <-ctx.Done():
	case <-d.hubPs[0].Done():
	}
}
