package seed_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/seed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAllMistakesOfAFileAreReportedWithTheirPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"of every kind": {
			"phones:\n- number: 12\n  nick: Ann\n  replies:\n  - {pattern: \"(\", reply: x}\n  - {pattern: x}\n- name: Ben\n- number: \"15550001\"\n- number: +15550001\n  number: 15550003\n-\nrules: {}\n",
			[]string{
				"2:11: \"12\" is no phone number",
				"3:3: unknown field \"nick\": the fields here are number, name,",
				"5:15: error parsing regexp",
				"6:5: a reply wants a pattern and a reply",
				"7:3: a phone without a number",
				"9:11: phone 15550001 is given twice",
				"10:3: field \"number\" is given twice, first in line 9",
				"11:2: empty entry in a list",
				"12:1: unknown field \"rules\"",
			},
		},
		"a list in place of values":  {"- a\n", []string{"1:1: expected keys and values, not a list"}},
		"a value in place of a list": {"phones: {number: 1}\n", []string{"1:9: expected a list, not keys and values"}},
		"no YAML":                    {"phones: [\n", []string{"did not find expected node content"}},
		"two documents":              {"phones: []\n---\nphones: []\n", []string{"a second document"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.text)
			_, err := seed.Load(path)
			var problems seed.Problems
			require.ErrorAs(t, err, &problems)
			lines := strings.Split(err.Error(), "\n")
			for i, want := range c.want {
				require.Greater(t, len(lines), i, err)
				require.Contains(t, lines[i], want)
				require.True(t, strings.HasPrefix(lines[i], path+":"), lines[i])
			}
			require.GreaterOrEqual(t, len(c.want)+1, len(lines), err)
		})
	}
	_, err := seed.Load(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	s, err := seed.Load(write(t, ""))
	require.NoError(t, err)
	require.Empty(t, s.Phones)
}

func TestASeedIsAppliedAgainOverTheSameState(t *testing.T) {
	s, err := seed.Load(write(t, "phones:\n- {number: +15550001, name: Bot, replies: [{pattern: 'hi (\\w+)', reply: 'hello $1'}]}\n- {number: 15550002}\n"))
	require.NoError(t, err)
	dir := t.TempDir()
	for round := range 2 {
		server, err := simulator.New(simulator.Options{Dir: dir})
		require.NoError(t, err)
		require.NoError(t, server.Start("127.0.0.1:0"))
		require.NoError(t, s.Apply(t.Context(), server))
		require.Len(t, server.Phones(), 2)
		require.Equal(t, "Bot", server.Phone("15550001").Name())
		ann := server.Phone("15550002")
		_, err = ann.SendText(t.Context(), "15550001", "hi bot")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := ann.WaitReceived(ctx, round+1)
		cancel()
		require.NoError(t, err)
		require.Equal(t, "hello bot", got[round].Text)
		require.NoError(t, server.Close())
	}
}
