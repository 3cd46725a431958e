package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/app"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/scenario"
	"github.com/wildcathub/wildcat/core/store/mongo"
)

// keyWorld is two hubs on one MongoDB database.
type keyWorld struct {
	t    *testing.T
	hubs []*scenario.Process
	env  []string
	dir  string
}

// request returns status and body.
func (w *keyWorld) request(hub int, method, path, key, body string, headers ...string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.hubs[hub].URL+path, strings.NewReader(body))
	require.NoError(w.t, err)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.StatusCode, string(text)
}

// command runs wildcat keys, and returns what it prints.
func (w *keyWorld) command(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(binaries, exeName("wildcat")), append([]string{"keys", "--config", filepath.Join(w.dir, "wildcat.yaml")}, args...)...)
	cmd.Env = append(os.Environ(), w.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(w.t, err, stderr.String())
	return strings.TrimSpace(string(out))
}

func newKeyWorld(t *testing.T) *keyWorld {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		require.Empty(t, os.Getenv("REQUIRE_MONGO"), "REQUIRE_MONGO is set and MONGODB_URI is not")
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	name := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
	t.Cleanup(func() { require.NoError(t, mongo.Drop(context.Background(), uri, name)) })
	w := &keyWorld{t: t, dir: t.TempDir(), env: []string{"MONGO_URL=" + uri, "DB_NAME=" + name}}
	exe := filepath.Join(binaries, exeName("wildcat"))
	sandbox, err := scenario.StartProcess(t.Context(), scenario.Command{
		Name: "the sandbox", Exe: exe, Args: []string{"sandbox", "--listen", "127.0.0.1:0", "--data", filepath.Join(w.dir, "sandbox"), "--exit-with-stdin"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sandbox.Stop(10 * time.Second) })
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "wildcat.yaml"), fmt.Appendf(nil, "server: {port: 0}\nwhatsapp: {network: sandbox, url: %q}\n", sandbox.URL), 0o600))
	return w
}

func (w *keyWorld) start() {
	w.t.Helper()
	hub, err := scenario.StartProcess(w.t.Context(), scenario.Command{
		Name: "the hub", Exe: filepath.Join(binaries, exeName("wildcat")), Env: w.env, Dir: w.dir,
		Args: []string{"serve", "--config", filepath.Join(w.dir, "wildcat.yaml"), "--data", filepath.Join(w.dir, fmt.Sprint("data", len(w.hubs))), "--exit-with-stdin"},
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = hub.Stop(20 * time.Second) })
	w.hubs = append(w.hubs, hub)
}

// promptly is how soon a key that was made or revoked on one hub is in force on all.
const promptly = 5 * time.Second

func TestKeysAreInForceOnAllHubs(t *testing.T) {
	if testing.Short() {
		t.Skip("the hubs are processes of their own: this under the race detector shows nothing more")
	}
	t.Parallel()
	w := newKeyWorld(t)
	boss := w.command("create", "--name", "boss")
	w.start()
	w.start()
	for hub := range w.hubs {
		status, _ := w.request(hub, http.MethodGet, "/accounts", "", "")
		require.Equal(t, 401, status)
		status, _ = w.request(hub, http.MethodGet, "/accounts", boss, "")
		require.Equal(t, 200, status)
	}
	becomes := func(hub int, key string, want int) {
		t.Helper()
		require.Eventually(t, func() bool {
			status, _ := w.request(hub, http.MethodGet, "/accounts/shop/status", key, "")
			return status == want
		}, promptly, 20*time.Millisecond)
	}
	status, body := w.request(0, http.MethodPost, "/accounts", boss, `{"id":"shop"}`)
	require.Equal(t, 201, status, body)

	// Made on the first, used on the second. One of the two passes the request on.
	status, body = w.request(0, http.MethodPost, "/v1/keys", boss, `{"name":"reader","scope":"read","accounts":["shop"]}`)
	require.Equal(t, 201, status, body)
	var made struct {
		Token string
		Key   struct{ ID string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &made))
	becomes(0, made.Token, 200)
	becomes(1, made.Token, 200)

	// Nobody else speaks for a hub, and what is not allowed is not passed on either.
	for hub := range w.hubs {
		status, _ = w.request(hub, http.MethodGet, "/accounts/shop/status", "", "")
		require.Equal(t, 401, status)
		status, _ = w.request(hub, http.MethodPost, "/accounts/shop/connect", made.Token, "")
		require.Equal(t, 403, status)
		status, body = w.request(hub, http.MethodGet, "/accounts/shop/status", "", "",
			"Wildcat-Hub: "+strings.Repeat("0", 64), fmt.Sprint("Wildcat-Hub-Time: ", time.Now().Unix()))
		require.Equal(t, 401, status, body)
	}

	// Revoked on the second; one that the command made, by the command.
	status, body = w.request(1, http.MethodDelete, "/v1/keys/"+made.Key.ID, boss, "")
	require.Equal(t, 200, status, body)
	status, _ = w.request(1, http.MethodGet, "/accounts/shop/status", made.Token, "")
	require.Equal(t, 401, status, "at once where it was asked for")
	becomes(0, made.Token, 401)
	other := w.command("create", "--name", "other", "--scope", "read")
	becomes(0, other, 200)
	becomes(1, other, 200)
	w.command("revoke", strings.Split(other, "_")[1])
	becomes(0, other, 401)
	becomes(1, other, 401)
}

func TestTheDocumentOfKeysDoesWhatItSays(t *testing.T) {
	port := freePorts(t, 1)[0]
	script := "export PORT=" + port + "\nwildcat serve --sandbox 2>/dev/null &\n" +
		"until curl -fsS localhost:3000/ping >/dev/null 2>&1; do sleep 0.05; done\n" +
		strings.Join(blocksOf(t, filepath.Join("..", "..", "docs", "keys.md"), "sh"), "\n")
	out := shell(t, t.TempDir(), binaries, strings.ReplaceAll(script, "localhost:3000", "127.0.0.1:"+port))
	require.Contains(t, out, `"token":"wk_`)
	require.Contains(t, out, "this API key has the scope send, and DELETE /accounts/:accountId needs admin")
	require.Regexp(t, `crm +send +shop`, out)
	require.Contains(t, out, "is revoked")
}

// A misspelt name makes no database, except for who makes the first key of one.
func TestKeysOfADatabaseThatIsNotThereAreNotLookedFor(t *testing.T) {
	w := newKeyWorld(t)
	cfg, err := config.Load(filepath.Join(w.dir, "wildcat.yaml"), config.Options{Env: func(name string) (string, bool) {
		i := slices.IndexFunc(w.env, func(pair string) bool { return strings.HasPrefix(pair, name+"=") })
		if i < 0 {
			return "", false
		}
		return strings.TrimPrefix(w.env[i], name+"="), true
	}})
	require.NoError(t, err)
	for range 2 {
		_, err = app.OpenKeys(t.Context(), cfg, false)
		require.ErrorIs(t, err, mongo.ErrAbsent)
		require.ErrorContains(t, err, "check database.name (DB_NAME), which is \""+cfg.Database.Name)
	}
	k, err := app.OpenKeys(t.Context(), cfg, true)
	require.NoError(t, err)
	require.NoError(t, k.Close())
	k, err = app.OpenKeys(t.Context(), cfg, false)
	require.NoError(t, err)
	require.NoError(t, k.Close())
}
