package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
)

const (
	hubNumber     = "15550000001"
	bareNumber    = "15550000002"
	guardedNumber = "15550000003"
	mongoNumber   = "15550000004"
	account       = "bench"
)

// world is a sandbox with a hub, in a folder of its own.
type world struct {
	b       *bench
	dir     string
	process *scenario.Process
	sandbox *scenario.Sandbox
	hook    *scenario.Receiver
	// env and data are the hub's: extra variables of its environment, and its data folder.
	env  []string
	data string
}

func (b *bench) newWorld(ctx context.Context, name string) (*world, error) {
	w := &world{b: b, dir: filepath.Join(b.dir, name), data: "data"}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if w.process, err = b.startSandbox(ctx, w.dir); err != nil {
		return nil, err
	}
	w.sandbox = scenario.NewSandbox(w.process.URL)
	if w.hook, err = scenario.StartReceiver(); err != nil {
		return nil, err
	}
	for i := range strangers {
		if err := w.sandbox.AddPhone(ctx, stranger(i), "Stranger"); err != nil {
			return nil, err
		}
	}
	return w, w.shippedConfig()
}

// startSandbox starts the sandbox of a world, over the state that it has.
func (b *bench) startSandbox(ctx context.Context, dir string) (*scenario.Process, error) {
	return scenario.StartProcess(ctx, scenario.Command{
		Name: "the sandbox", Exe: b.hub, Args: []string{"sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "sandbox"), "--exit-with-stdin"},
	})
}

func (w *world) close() {
	w.hook.Close()
	_ = w.process.Stop(10 * time.Second)
}

const strangers = 20

func stranger(i int) string { return fmt.Sprintf("1555100%04d", i) }

// shippedConfig is wildcat.yaml as it ships, its three rules included, on the sandbox
// and on a free port.
func (w *world) shippedConfig() error {
	text, err := os.ReadFile(filepath.Join(w.b.source, "wildcat.yaml"))
	if err != nil {
		return err
	}
	out := string(text)
	for old, with := range map[string]string{
		"network: live": fmt.Sprintf("network: sandbox\n  url: %q", w.process.URL),
		"port: 3000":    "port: 0",
	} {
		if strings.Count(out, old) != 1 {
			return fmt.Errorf("wildcat.yaml does not have %q once", old)
		}
		out = strings.Replace(out, old, with, 1)
	}
	var kept []string
	for _, line := range strings.Split(out, "\n") {
		if strings.TrimSpace(line) == `url: ""` {
			continue // the empty one that ships
		}
		kept = append(kept, line)
	}
	if err := os.CopyFS(filepath.Join(w.dir, "scripts"), os.DirFS(filepath.Join(w.b.source, "scripts"))); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "wildcat.yaml"), []byte(strings.Join(kept, "\n")), 0o600)
}

func (w *world) startHub(ctx context.Context) (*scenario.Process, *scenario.Hub, error) {
	var log io.Writer
	if w.b.verbose {
		log = os.Stderr
	}
	p, err := scenario.StartProcess(ctx, scenario.Command{
		Name: "the hub", Exe: w.b.hub, Log: log, Dir: w.dir, Env: append([]string{"LOG_LEVEL=warn"}, w.env...),
		Args: []string{"serve", "--config", filepath.Join(w.dir, "wildcat.yaml"), "--data", filepath.Join(w.dir, w.data), "--exit-with-stdin"},
	})
	if err != nil {
		return nil, nil, err
	}
	return p, scenario.NewHub(p.URL), nil
}

// pairHub starts the hub for the first time, pairs its account and registers the webhook.
func (w *world) pairHub(ctx context.Context, number string) (*scenario.Process, *scenario.Hub, error) {
	p, hub, err := w.startHub(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := w.sandbox.AddPhone(ctx, number, "Hub"); err != nil {
		return nil, nil, err
	}
	secret, err := hub.AddWebhook(ctx, w.hook.URL)
	if err != nil {
		return nil, nil, err
	}
	return p, hub, errors.Join(w.hook.SetSecret(secret), scenario.Pair(ctx, hub, w.sandbox, account, number))
}

// onMongo is the same sandbox with another hub, which stores on the MongoDB server and has
// a receiver of its own. end drops the database.
func (w *world) onMongo() (other *world, end func(), err error) {
	m := *w
	name, drop := w.b.mongo.database()
	m.data, m.env = "data-mongo", []string{"MONGO_URL=" + w.b.mongo.uri, "DB_NAME=" + name}
	if m.hook, err = scenario.StartReceiver(); err != nil {
		return nil, nil, err
	}
	return &m, func() {
		m.hook.Close()
		drop()
	}, nil
}

// device is a row of the sandbox's GET /sandbox/devices.
type device struct {
	JID         string `json:"jid"`
	Online      bool   `json:"online"`
	Pending     int    `json:"pending"`
	LastAckNS   int64  `json:"last_ack_ns"`
	LastLoginNS int64  `json:"last_login_ns"`
	Logins      int    `json:"logins"`
}

func (w *world) device(ctx context.Context, number string) (device, error) {
	var out struct {
		Devices []device `json:"devices"`
	}
	if err := getJSON(ctx, w.process.URL+"/sandbox/devices", &out); err != nil {
		return device{}, err
	}
	for _, d := range out.Devices {
		if strings.HasPrefix(d.JID, number+":") {
			return d, nil
		}
	}
	return device{}, fmt.Errorf("no device of %s", number)
}

// cpuSeconds is the processor time that a process has used so far; 0 where it cannot be read.
func cpuSeconds(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100 // clock ticks
}

// residentKiB is the memory that a process holds; 0 where it cannot be read.
func residentKiB(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			return kib
		}
	}
	return 0
}

func getJSON(ctx context.Context, url string, out any) error {
	return scenario.NewHub(strings.TrimSuffix(url, pathOf(url))).Get(ctx, pathOf(url), out)
}

func pathOf(url string) string {
	rest := strings.TrimPrefix(url, "http://")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return ""
}
