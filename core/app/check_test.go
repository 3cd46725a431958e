package app_test

import (
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/app"
	"github.com/wildcathub/wildcat/core/config"
)

func TestAskingAProgramLeavesNothingBehind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir, err := os.MkdirTemp("", "w") // short, as a socket's path must be
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Chdir(dir)
	require.NoError(t, os.WriteFile("prog", []byte("#!/bin/sh\necho hello\n"), 0o700))
	require.NoError(t, os.WriteFile("wildcat.yaml", []byte("connectors:\n  - name: a\n    use: ./prog\n    with: {x: 1}\n"), 0o600))
	cfg, err := config.Load("", config.Options{Env: func(string) (string, bool) { return "", false }})
	require.NoError(t, err)

	require.Empty(t, app.CheckStart(t.Context(), cfg, nil), "the hub starts without it, and tries again")
	_, problems := app.Check(t.Context(), cfg, nil)
	require.Equal(t, []string{
		`wildcat.yaml:3:10: printed "hello" on standard output before the handshake: log to standard error instead`,
	}, problems)
	left, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Len(t, left, 2)
}
