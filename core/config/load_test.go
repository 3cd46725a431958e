package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

func env(pairs ...string) Options {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return Options{Env: func(name string) (string, bool) { v, ok := m[name]; return v, ok }}
}

func mustParse(t *testing.T, text string, opts Options) *Config {
	t.Helper()
	cfg, err := parse("wildcat.yaml", []byte(text), opts)
	require.NoError(t, err)
	return cfg
}

func sameAs(want *Config) func(t *testing.T, got *Config) {
	return func(t *testing.T, got *Config) {
		t.Helper()
		ignore := cmpopts.IgnoreFields(Config{}, "Path", "places", "keys", "origins")
		require.Empty(t, cmp.Diff(want, got, ignore, cmpopts.EquateEmpty()))
	}
}

// Each file in testdata/bad holds one mistake (or several that belong together) and
// says in "# want:" comments what must be reported.
func TestEveryMistakeIsReportedWithItsPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	wants := regexp.MustCompile(`(?m)^# want: (.*)$`)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			var want []string
			for _, m := range wants.FindAllStringSubmatch(string(data), -1) {
				want = append(want, file+":"+m[1])
			}
			_, err = Load(file, env("SECRET", "hunter2"))
			require.Error(t, err)
			require.Equal(t, strings.Join(want, "\n"), err.Error())
			var problems Problems
			require.ErrorAs(t, err, &problems)
		})
	}
}

func TestTheShippedFileHoldsEveryKey(t *testing.T) {
	data, err := os.ReadFile("../../wildcat.yaml")
	require.NoError(t, err)
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(data, &doc))
	have := map[string]bool{}
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		have[path] = true
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				walk(n.Content[i+1], join(path, n.Content[i].Value))
			}
		case yaml.SequenceNode:
			for _, item := range n.Content {
				walk(item, path+"[]")
			}
		}
	}
	walk(doc.Content[0], "")
	for _, key := range Keys() {
		require.True(t, have[key], "wildcat.yaml lacks %s", key)
	}
}

func TestTheShippedFileLoadsToTheDefaults(t *testing.T) {
	cfg, err := Load("../../wildcat.yaml", env())
	require.NoError(t, err)
	require.Len(t, cfg.Rules.Files, 3)
	require.Len(t, cfg.Connectors, 1)

	yes, no := true, false
	for i, r := range cfg.Rules.Files {
		name := strings.TrimSuffix(filepath.Base(r.File), ".lua")
		require.Equal(t, RuleConfig{
			File: r.File, Name: name, Timeout: defaultRuleTimeout, Enabled: &yes,
			Accounts: r.Accounts, Chats: r.Chats,
		}, r)
		require.Empty(t, r.Accounts, i)
		require.Empty(t, r.Chats, i)
	}
	k := cfg.Connectors[0]
	require.Empty(t, cmp.Diff(ConnectorConfig{
		Name: "jsonl", Use: "./bin/connector-go", With: map[string]any{"path": "./data/events.jsonl"},
		Events: []string{"message"}, Retry: defaultRetry(), Ordering: OrderingBounded, Enabled: &no,
	}, k, cmpopts.EquateEmpty()))

	want := Default()
	want.Rules.Files, want.Connectors = cfg.Rules.Files, cfg.Connectors
	sameAs(want)(t, cfg)
}

func TestAnEmptyFileIsTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "server:\nrules:\nconnectors:\n"} {
		sameAs(Default())(t, mustParse(t, text, env()))
	}
}

func TestAMissingFileIsTheDefaultsOnlyWhereNoneWasNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, err := Load("", env())
	require.NoError(t, err)
	sameAs(Default())(t, cfg)
	require.Empty(t, cfg.Path)

	_, err = Load("wildcat.yaml", env())
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile("wildcat.yaml", []byte("server: {port: 4000}"), 0o600))
	cfg, err = Load("", env())
	require.NoError(t, err)
	require.Equal(t, 4000, cfg.Server.Port)
	require.Equal(t, "wildcat.yaml", cfg.Path)
}

func TestReferencesExpand(t *testing.T) {
	opts := env("PORT_A", "81", "EMPTY", "", "TOKEN", "0012", "OFF", "false", "INJECT", "x, y: [z]\n# no comment")
	cfg := mustParse(t, `
server:
  port: ${NOTHING:3000}
  host: ${HOST_A:127.0.0.1}
whatsapp: {device_name: "a ${TOKEN} $${TOKEN} $HOME"}
webhooks: {timeout: "${EMPTY:2}s"}
accounts: {auto_connect: "${OFF}"}
connectors:
  - name: a
    use: webhook
    with:
      port: ${PORT_A}
      quoted: "${PORT_A}"
      text: ${INJECT}
      "${TOKEN}": key
`[1:], opts)
	require.Equal(t, "127.0.0.1", cfg.Server.Host)
	require.Equal(t, "a 0012 ${TOKEN} $HOME", cfg.WhatsApp.DeviceName)
	require.Equal(t, 2*time.Second, cfg.Webhooks.Timeout)
	require.False(t, cfg.Accounts.AutoConnect)
	require.Equal(t, map[string]any{
		"port": 81, "quoted": "81", "text": "x, y: [z]\n# no comment", "${TOKEN}": "key",
	}, cfg.Connectors[0].With, "plain scalars find their type anew, a value cannot add structure, keys stay")

	cfg = mustParse(t, "server:\n  port: ${PORT_A}", opts)
	require.Equal(t, 81, cfg.Server.Port)
	cfg = mustParse(t, "server:\n  port: ${EMPTY:}", opts)
	require.Equal(t, 3000, cfg.Server.Port, "an empty value is the default")
}

func TestEnvironmentOverridesTheFile(t *testing.T) {
	cfg := mustParse(t, "server: {host: 127.0.0.2, port: 1}\nlog: {level: warn}\n", env(
		"HOST", "::1", "PORT", "8080", "MONGO_URL", "sqlite:other.db", "DB_NAME", "cats", "ADMIN_NUMBER", "+91 95474 00579",
		"AUTO_CONNECT_ON_START", "False", "LOG_LEVEL", "DEBUG", "FFMPEG_PATH", "/opt/ffmpeg"))
	require.Equal(t, "[::1]:8080", cfg.Server.Address())
	require.Equal(t, "sqlite:other.db", cfg.Database.URI.Reveal())
	require.Equal(t, "cats", cfg.Database.Name)
	require.Equal(t, "+91 95474 00579", cfg.Accounts.AdminNumber)
	require.False(t, cfg.Accounts.AutoConnect)
	require.Equal(t, "debug", cfg.Log.Level)
	require.Equal(t, "/opt/ffmpeg", cfg.Media.FFmpegPath)
}

func TestAnEmptyVariableIsNoOverride(t *testing.T) {
	sameAs(Default())(t, mustParse(t, "", env("HOST", "", "PORT", " ", "MONGO_URL", "")))
}

func TestABadVariableIsNamed(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"PORT", "http", `environment: PORT: expected a whole number, not "http"`},
		{"PORT", "70000", `environment: PORT: expected a number from 0 to 65535, not 70000`},
		{"AUTO_CONNECT_ON_START", "maybe", `environment: AUTO_CONNECT_ON_START: expected true or false, not "maybe"`},
		{"LOG_LEVEL", "trace", `environment: LOG_LEVEL: expected debug, info, warn or error, not "trace"`},
		{"HOST", "0.0.0.0:80", `environment: HOST: expected an address or a name without a port, not "0.0.0.0:80"`},
		{"WILDCAT_ADMIN_KEY", "hunter2", "environment: WILDCAT_ADMIN_KEY: expected 32 to 512 characters without spaces, such as `openssl rand -hex 32` prints"},
		{"MONGO_URL", "mongodb://u:hunter2@", `environment: MONGO_URL: expected a host after mongodb://, such as mongodb://localhost:27017`},
		{"ADMIN_NUMBER", "boss", `environment: ADMIN_NUMBER: expected a phone number such as +91 95474 00579`},
	} {
		_, err := parse("wildcat.yaml", nil, env(c.name, c.value))
		require.EqualError(t, err, c.want)
	}
}

func TestAnAddressThatOthersReachNeedsAKey(t *testing.T) {
	secret := strings.Repeat("k", 32)
	require.False(t, mustParse(t, "", env()).NeedsKey())
	require.False(t, mustParse(t, "server: {host: localhost}", env()).NeedsKey())
	require.True(t, mustParse(t, "server: {host: 0.0.0.0}", env()).NeedsKey())
	require.True(t, mustParse(t, "", env("HOST", "hub.example.com")).NeedsKey())
	require.False(t, mustParse(t, "server: {host: 0.0.0.0}\nauth: {disabled: true}", env()).NeedsKey())
	cfg := mustParse(t, "server: {host: 0.0.0.0}", env("WILDCAT_ADMIN_KEY", secret))
	require.False(t, cfg.NeedsKey())
	require.Equal(t, secret, cfg.Auth.AdminKey.Reveal())
	require.NotContains(t, fmt.Sprintf("%v %+v", cfg, cfg.Auth), secret)
}

func TestFlagsComeAfterFileAndEnvironmentAndBeforeValidation(t *testing.T) {
	opts := env("PORT", "1")
	opts.Override = func(c *Config) {
		require.Equal(t, 1, c.Server.Port)
		c.WhatsApp.Network = NetworkSandbox
	}
	cfg := mustParse(t, "whatsapp: {url: http://localhost:1}", opts)
	require.Equal(t, NetworkSandbox, cfg.WhatsApp.Network)
}

func TestPositionsAreKept(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.lua"), nil, 0o600))
	file := filepath.Join(dir, "w.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`rules:
  files:
    - file: a.lua
connectors:
  - name: one
    use: webhook
    with:
      url: http://x
      retry: {max: 3}
`), 0o600))
	cfg, err := Load(file, env("HOST", "127.0.0.1"))
	require.NoError(t, err)
	at := func(path string) string {
		line, col := cfg.Position(path)
		return fmt.Sprintf("%d:%d", line, col)
	}
	require.Equal(t, "3:13", at("rules.files[0].file"))
	require.Equal(t, "3:7", at("rules.files[0].name"), "a key that is not there: what is around it")
	require.Equal(t, "6:10", at("connectors[0].use"))
	require.Equal(t, "9:20", at("connectors[0].with.retry.max"))
	require.Equal(t, "8:7", at("connectors[0].with.nothing"))
	require.Equal(t, "0:0", at("server.port"))
	require.Equal(t, filepath.Join(dir, "a.lua"), cfg.Resolve("a.lua"))
	require.Equal(t, file+":6:10: no such built-in", cfg.Problem("connectors[0].use", "no such built-in").String())
	require.Equal(t, file+": server.port: taken", cfg.Problem("server.port", "taken").String())
	require.Equal(t, "environment: HOST: taken", cfg.Problem("server.host", "taken").String())
}

func TestWhatCouldBeReadComesWithTheMistakes(t *testing.T) {
	cfg, err := parse("w.yaml", []byte(`
server: {prot: 1, port: 81}
connectors:
  - {name: a, use: webhook, retry: [x], with: {url: "http://a", ulr: 1}}
  - {name: b, use: ./prog, sha265: "00", enabled: maybe}
`[1:]), env("PORT", "http"))
	var problems Problems
	require.ErrorAs(t, err, &problems)
	require.Equal(t, 81, cfg.Server.Port)
	require.Len(t, cfg.Connectors, 2)
	require.Equal(t, map[string]any{"url": "http://a", "ulr": 1}, cfg.Connectors[0].With)
	for path, about := range map[string]bool{
		"server.port": true, "server.host": false, "server": true,
		"connectors[0]": true, "connectors[0].use": false, "connectors[0].with": false, "connectors[0].retry[0]": true,
		"connectors[1].sha256": true, "connectors[1].enabled": true, "connectors[1].use": false, "connectors[11]": false,
	} {
		require.Equal(t, about, problems.About(path), path)
	}
	require.Equal(t, "w.yaml:3:70: no such thing", cfg.Problem("connectors[0].with.ulr", "no such thing").String())
	require.Equal(t, "w.yaml:3:65: no such thing", cfg.ProblemAtKey("connectors[0].with.ulr", "no such thing").String())
	require.Equal(t, "environment", problems[len(problems)-1].File)
}

func TestAWrongFileNamesNothingThatIsCheckedFurther(t *testing.T) {
	text := "connectors: [{name: a, use: ./prog}]\n"
	for i := range 200 {
		text += fmt.Sprintf("k%d: 1\n", i)
	}
	cfg, err := parse("w.yaml", []byte(text), env())
	require.Error(t, err)
	require.Empty(t, cfg.Connectors, "its pin may be what was not read")
}

func TestEntriesGetDefaultsOfTheirOwn(t *testing.T) {
	cfg := mustParse(t, `
deliver: {retry: [2s]}
connectors:
  - {name: a, use: webhook}
  - {name: b, use: webhook, retry: [], enabled: false, ordering: strict, events: [receipt]}
`[1:], env())
	a, b := cfg.Connectors[0], cfg.Connectors[1]
	require.Equal(t, []string{"message"}, a.Events)
	require.Equal(t, []time.Duration{2 * time.Second}, a.Retry)
	require.Equal(t, OrderingBounded, a.Ordering)
	require.True(t, *a.Enabled)
	require.Equal(t, []string{"receipt"}, b.Events)
	require.Empty(t, b.Retry)
	require.Equal(t, OrderingStrict, b.Ordering)
	require.False(t, *b.Enabled)
}

func TestSecretsDoNotPrint(t *testing.T) {
	cfg := mustParse(t, "database: {uri: sqlite:hunter2.db}", env())
	require.NotContains(t, fmt.Sprintf("%v %+v %s", cfg.Database, cfg.Database, cfg.Database.URI), "hunter2")
}

func TestAFileThatNamesBillionsIsRefused(t *testing.T) {
	text := "connectors:\n- name: a\n  use: webhook\n  with:\n    a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		text += fmt.Sprintf("    %c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	_, err := parse("w.yaml", []byte(text), env())
	require.ErrorContains(t, err, "the file is too large")
}

func TestAWrongFileIsReportedOnceAndQuickly(t *testing.T) {
	text := strings.Builder{}
	for i := range 50_000 {
		fmt.Fprintf(&text, "k%d: 1\n", i)
	}
	_, err := parse("w.yaml", []byte(text.String()), env())
	var problems Problems
	require.ErrorAs(t, err, &problems)
	require.Len(t, problems, maxProblems)
	require.Equal(t, "w.yaml:100:1: too many mistakes: the rest is not listed", problems[99].String())
}

func TestTheManualNamesEveryKeyAndVariable(t *testing.T) {
	manual, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	for _, key := range Keys() {
		require.Contains(t, string(manual), "`"+key+"`")
	}
	for _, e := range envNames() {
		require.Contains(t, string(manual), "`"+e.name+"`")
	}
}

func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range append(files, "../../wildcat.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("connectors: &a [{with: *a}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parse("w.yaml", data, env("PORT_A", "1"))
		var problems Problems
		if cfg == nil || err != nil && !errors.As(err, &problems) {
			t.Fatal("no configuration, or an error that is no list of mistakes")
		}
	})
}
