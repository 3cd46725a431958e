package app_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
)

// A data folder whose path is too long for sockets has them in the temporary folder, where
// nobody but the next hub on that data folder can know whose they are.
func TestTheNextHubRemovesTheSocketsOfOneThatWasKilled(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("starts processes; on Windows the sockets are in the data folder")
	}
	temp, err := os.MkdirTemp("/tmp", "wct-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep", 10))
	require.NoError(t, os.Mkdir(dir, 0o700))
	file := filepath.Join(dir, "wildcat.yaml")
	both := "connectors:\n- {name: one, use: BIN, with: {path: one.jsonl}}\n- {name: two, use: BIN, with: {path: two.jsonl}}\n"
	configure := func(connectors string) {
		text := "server: {port: 0}\nwhatsapp: {network: sandbox}\n" + strings.ReplaceAll(connectors, "BIN", filepath.Join(binaries, exeName("connector-go")))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	start := func() *scenario.Process {
		p, err := scenario.StartProcess(t.Context(), scenario.Command{
			Name: "the hub", Exe: filepath.Join(binaries, exeName("wildcat")), Dir: dir, Env: []string{"TMPDIR=" + temp},
			Args: []string{"serve", "--config", file, "--data", "data", "--exit-with-stdin"},
		})
		require.NoError(t, err)
		t.Cleanup(p.Kill)
		return p
	}
	left := func() []string {
		names, err := filepath.Glob(filepath.Join(temp, "*"))
		require.NoError(t, err)
		return names
	}

	configure(both)
	start().Kill()
	require.Len(t, left(), 2, "a hub that is killed cannot remove them")
	stranger := filepath.Join(temp, "wildcat-0123456789ab-42")
	require.NoError(t, os.Mkdir(stranger, 0o700))

	configure("connectors: []\n") // whatever has become of the connectors
	next := start()
	require.Equal(t, []string{stranger}, left())
	require.NoError(t, next.Stop(20*time.Second))
}
