package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wildcathub/wildcat/core/legacy/legacytest"
	"github.com/wildcathub/wildcat/core/scenario"
	"github.com/wildcathub/wildcat/core/store/mongo"
)

// The stories drive the real binary, built once, against the simulator in a process
// of its own. Their commands are below; everything else is testscript's.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "wildcat-stories-")
	if err == nil {
		defer os.RemoveAll(dir)
		binaries = dir
		var source string
		if source, err = scenario.SourceDir(ctx); err == nil {
			if _, err = scenario.Build(ctx, source, "./cmd/wildcat", filepath.Join(dir, "wildcat")); err == nil {
				_, err = scenario.BuildConnector(ctx, source, dir)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the binaries of the stories:", err)
		return 1
	}
	return m.Run()
}

// patience bounds every wait of a story.
const patience = 30 * time.Second

// stage is what a running story has started.
type stage struct {
	sandbox *scenario.Process
	hub     *scenario.Process
	second  *scenario.Process // another one on its database
	hook    *scenario.Receiver
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func TestStories(t *testing.T) {
	if testing.Short() {
		t.Skip("the hubs are processes of their own: these stories under the race detector show nothing more")
	}
	source, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Condition: func(cond string) (bool, error) {
			if cond == "mongo" { // a server to test with
				if os.Getenv("MONGODB_URI") == "" && os.Getenv("REQUIRE_MONGO") != "" {
					return false, errors.New("REQUIRE_MONGO is set and MONGODB_URI is not")
				}
				return os.Getenv("MONGODB_URI") != "", nil
			}
			if cond == "netns" { // a network of one's own, with nothing in it
				return runtime.GOOS == "linux" && exec.Command("unshare", "-n", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Setup: func(env *testscript.Env) error {
			s := &stage{}
			env.Values[stageKey{}] = s
			env.Setenv("PATH", binaries+string(os.PathListSeparator)+env.Getenv("PATH"))
			for _, name := range []string{"HOST", "PORT", "MONGO_URL", "DB_NAME", "ADMIN_NUMBER", "AUTO_CONNECT_ON_START", "LOG_LEVEL", "FFMPEG_PATH", "WILDCAT_ADMIN_KEY", "WILDCAT_API_KEY"} {
				env.Setenv(name, "") // the stories bring their own configuration
			}
			env.Setenv("SOURCE", source)
			env.Setenv("BIN", binaries)
			env.Defer(func() {
				if s.hub != nil {
					_ = s.hub.Stop(15 * time.Second)
				}
				if s.second != nil {
					_ = s.second.Stop(15 * time.Second)
				}
				if s.sandbox != nil {
					_ = s.sandbox.Stop(15 * time.Second)
				}
				if s.hook != nil {
					s.hook.Close()
				}
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"sandbox-start":  sandboxStart,
			"hub-start":      hubStart,
			"end":            stopCmd,
			"pair":           pairCmd,
			"phone-add":      phoneAdd,
			"phone-send":     phoneSend,
			"phone-batch":    phoneBatch,
			"phone-shows":    phoneShows,
			"phone-order":    phoneOrder,
			"rest":           restCmd,
			"until-rest":     untilRest,
			"receiver":       receiverCmd,
			"receiver-has":   receiverHas,
			"receiver-lacks": receiverLacks,
			"lines-have":     linesHave,
			"template":       templateCmd,
			"copy-folder":    copyFolder,
			"vacuum-into":    vacuumInto,
			"scan":           scanCmd,
			"keep":           keepCmd,
			"legacy":         legacyCmd,
			"legacy-cut":     legacyCut,
			"legacy-drop":    legacyDrop,
			"second-hub":     secondHub,
			"end-second":     endSecond,
			"hang-up":        hangUp,
			"within":         within,
			"databases":      databasesCmd,
			"as":             asCmd,

			"metrics-in-manual": metricsInManual,
		},
	})
}

func want(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

// sandboxStart [port]: starts it on its data folder; again on the same port after a stop.
func sandboxStart(ts *testscript.TestScript, _ bool, _ []string) {
	s := stageOf(ts)
	listen := "127.0.0.1:0"
	if url := ts.Getenv("SANDBOX"); url != "" {
		listen = strings.TrimPrefix(url, "http://")
	}
	p, err := scenario.StartProcess(context.Background(), scenario.Command{
		Name: "the sandbox", Exe: filepath.Join(binaries, exeName("wildcat")),
		Args: []string{"sandbox", "--listen", listen, "--data", ts.MkAbs("sandbox"), "--exit-with-stdin"},
	})
	ts.Check(err)
	s.sandbox = p
	ts.Setenv("SANDBOX", p.URL)
}

func exeName(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}

// hubStart [args]: wildcat serve with wildcat.yaml of the story's folder.
func hubStart(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	p, err := scenario.StartProcess(context.Background(), scenario.Command{
		Env: []string{
			"MONGO_URL=" + ts.Getenv("MONGO_URL"), "DB_NAME=" + ts.Getenv("DB_NAME"),
			"HOST=" + ts.Getenv("HOST"), "WILDCAT_ADMIN_KEY=" + ts.Getenv("WILDCAT_ADMIN_KEY"),
		},
		Name: "the hub", Exe: filepath.Join(binaries, exeName("wildcat")), Dir: ts.MkAbs("."),
		Args: append([]string{"serve", "--config", ts.MkAbs("wildcat.yaml"), "--data", ts.MkAbs("data"), "--exit-with-stdin"}, args...),
	})
	ts.Check(err)
	s.hub = p
	ts.Setenv("HUB", p.URL)
}

// stopCmd: end hub|sandbox [-9]
func stopCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "end hub|sandbox [-9]")
	s := stageOf(ts)
	p := &s.hub
	if args[0] == "sandbox" {
		p = &s.sandbox
	}
	if len(args) > 1 && args[1] == "-9" {
		(*p).Kill()
	} else {
		ts.Check((*p).Stop(20 * time.Second))
	}
	*p = nil
}

func phoneAdd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "phone-add number…")
	for _, n := range args {
		ts.Check(scenario.NewSandbox(ts.Getenv("SANDBOX")).AddPhone(context.Background(), n, "Phone "+n))
	}
}

func pairCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "pair account number")
	ctx := context.Background()
	ts.Check(scenario.Pair(ctx, scenario.NewHub(ts.Getenv("HUB")), scenario.NewSandbox(ts.Getenv("SANDBOX")), args[0], args[1]))
}

// scan account number: of an account that is pairing already.
func scanCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "scan account number")
	ts.Check(scenario.Scan(context.Background(), scenario.NewHub(ts.Getenv("HUB")), scenario.NewSandbox(ts.Getenv("SANDBOX")), args[0], args[1]))
}

// keep name regexp: keeps what the regexp's group matches in the last output.
func keepCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "keep name regexp")
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if m == nil {
		ts.Fatalf("no match")
	}
	ts.Setenv(args[0], m[1])
}

// databases name…: names of databases at $MONGO that are free, and dropped at the end.
func databasesCmd(ts *testscript.TestScript, _ bool, args []string) {
	uri := os.Getenv("MONGODB_URI")
	ts.Setenv("MONGO", uri)
	for _, name := range args {
		database := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
		ts.Setenv(name, database)
		ts.Defer(func() { ts.Check(mongo.Drop(context.Background(), uri, database)) })
	}
}

// legacy database webhook…: fills it as a Node service would have, with a file $VOICE.
func legacyCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "legacy database webhook…")
	ts.Setenv("VOICE", legacytest.VoiceID())
	ts.Check(legacytest.Fill(context.Background(), ts.Getenv("MONGO"), args[0], args[1:]...))
}

// phoneSend from to text [times]: %d in the text is the number of the message.
func phoneSend(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "phone-send from to text [times]")
	n := 1
	if len(args) > 3 {
		var err error
		n, err = strconv.Atoi(args[3])
		ts.Check(err)
	}
	sb := scenario.NewSandbox(ts.Getenv("SANDBOX"))
	for i := range n {
		_, err := sb.Send(context.Background(), args[0], args[1], strings.ReplaceAll(args[2], "%d", strconv.Itoa(i)))
		ts.Check(err)
	}
}

// phoneBatch from to text times: all at once, as fast as the sandbox takes them.
func phoneBatch(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 4, "phone-batch from to text times")
	n, err := strconv.Atoi(args[3])
	ts.Check(err)
	batch := make([]scenario.Outgoing, n)
	for i := range batch {
		batch[i] = scenario.Outgoing{From: args[0], To: args[1], Text: strings.ReplaceAll(args[2], "%d", strconv.Itoa(i))}
	}
	ts.Check(scenario.NewSandbox(ts.Getenv("SANDBOX")).SendBatch(context.Background(), batch))
}

// phoneOrder number text times: what the phone shows of these texts came in their order.
func phoneOrder(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "phone-order number text times")
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	got, err := scenario.NewSandbox(ts.Getenv("SANDBOX")).Received(context.Background(), args[0])
	ts.Check(err)
	next := 0
	for _, m := range got {
		if next < n && m.Text == strings.ReplaceAll(args[1], "%d", strconv.Itoa(next)) {
			next++
		}
	}
	if next != n {
		ts.Fatalf("in order up to %d of %d", next, n)
	}
}

// phoneShows number text [times]: waits until the phone shows each text exactly once.
func phoneShows(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "phone-shows number text [times]")
	n := 1
	if len(args) > 2 {
		var err error
		n, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	var texts []string
	for i := range n {
		texts = append(texts, strings.ReplaceAll(args[1], "%d", strconv.Itoa(i)))
	}
	sb := scenario.NewSandbox(ts.Getenv("SANDBOX"))
	ts.Check(scenario.Until(context.Background(), patience, func() error {
		got, err := sb.Received(context.Background(), args[0])
		if err != nil {
			return err
		}
		shown := scenario.CountAnswers(got).Shown
		for _, text := range texts {
			if shown[text] != 1 {
				return fmt.Errorf("%q is shown %d times", text, shown[text])
			}
		}
		return nil
	}))
}

func call(ts *testscript.TestScript, args []string) (string, error) {
	var body io.Reader
	if len(args) > 2 {
		body = strings.NewReader(args[2])
	}
	url := args[1]
	if strings.HasPrefix(url, "/") {
		url = ts.Getenv("HUB") + url
	}
	req, err := http.NewRequest(args[0], url, body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if key := ts.Getenv("KEY"); key != "" {
		req.Header.Set("X-API-Key", key)
	}
	if key := ts.Getenv("IDEMPOTENCY_KEY"); key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s\n", resp.StatusCode, text), err
}

// as [key]: requests to the hub have this API key from now on, or none.
func asCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, "as [key]")
	ts.Setenv("KEY", strings.Join(args, ""))
}

// restCmd METHOD path [json]: prints the status and the body. What the body has as
// "id", "eventId", "secret" and "messageId" is kept in $id and so on.
func restCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "rest METHOD path [json]")
	out, err := call(ts, args)
	ts.Check(err)
	_, _ = fmt.Fprint(ts.Stdout(), out)
	_, body, _ := strings.Cut(out, " ")
	for _, key := range []string{"id", "eventId", "secret", "messageId"} {
		if m := regexp.MustCompile(`"` + key + `":"([^"]*)"`).FindStringSubmatch(body); m != nil {
			ts.Setenv(key, m[1])
		}
	}
}

// untilRest METHOD path regexp: asks until status and body match.
func untilRest(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "until-rest METHOD path regexp")
	re, err := regexp.Compile(args[2])
	ts.Check(err)
	ts.Check(scenario.Until(context.Background(), patience, func() error {
		out, err := call(ts, args[:2])
		if err == nil && !re.MatchString(out) {
			err = fmt.Errorf("no match in %s", out)
		}
		return err
	}))
}

// receiverCmd start|status N|secret S
func receiverCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "receiver start | status N | secret S")
	s := stageOf(ts)
	switch args[0] {
	case "start":
		r, err := scenario.StartReceiver()
		ts.Check(err)
		s.hook = r
		ts.Setenv("HOOK", r.URL)
	case "status":
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		s.hook.Answer(n)
	case "secret":
		ts.Check(s.hook.SetSecret(args[1]))
	}
}

// has waits until a connector got every message that the hub stored for an account, in order.
func has(ts *testscript.TestScript, account string, least int, arrivals func() ([]scenario.Arrival, error)) {
	ctx := context.Background()
	hub := scenario.NewHub(ts.Getenv("HUB"))
	ts.Check(scenario.Until(ctx, patience, func() error {
		list, err := hub.Messages(ctx, account)
		if err != nil {
			return err
		}
		var ids []string
		for _, m := range list {
			ids = append(ids, m.EventID)
		}
		if len(ids) < least {
			return fmt.Errorf("%d messages are stored, at least %d expected", len(ids), least)
		}
		got, err := arrivals()
		if err != nil {
			return err
		}
		_, err = scenario.CheckArrivals(got, ids)
		return err
	}))
}

// receiverHas account least
func receiverHas(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "receiver-has account least")
	least, err := strconv.Atoi(args[1])
	ts.Check(err)
	s := stageOf(ts)
	has(ts, args[0], least, func() ([]scenario.Arrival, error) {
		if bad := s.hook.Bad(); len(bad) > 0 {
			return nil, errors.New(bad[0])
		}
		return s.hook.Arrivals(), nil
	})
}

// receiverLacks prefix: no text that came begins so.
func receiverLacks(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "receiver-lacks prefix")
	for _, a := range stageOf(ts).hook.Arrivals() {
		if strings.HasPrefix(a.Text, args[0]) {
			ts.Fatalf("%q came", a.Text)
		}
	}
}

// linesHave file account least
func linesHave(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "lines-have file account least")
	least, err := strconv.Atoi(args[2])
	ts.Check(err)
	has(ts, args[1], least, func() ([]scenario.Arrival, error) { return scenario.ReadLines(ts.MkAbs(args[0])) })
}

// templateCmd file: expands $NAME of the story's environment in a file.
func templateCmd(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "template file")
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	out := os.Expand(string(text), func(name string) string {
		if v := ts.Getenv(name); v != "" {
			return v
		}
		return "$" + name
	})
	ts.Check(os.WriteFile(path, []byte(out), 0o600))
}
