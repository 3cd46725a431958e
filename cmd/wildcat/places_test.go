package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesOfDatabasesAreCheckedBeforeAnythingIsOpened(t *testing.T) {
	for flag, args := range map[string][]string{
		"--to-database":   {"migrate", "--from", "sqlite:wildcat.db", "--to", "mongodb://127.0.0.1:1/", "--to-database", "a/b"},
		"--from-database": {"migrate", "--from", "mongodb://127.0.0.1:1/", "--to", "sqlite:wildcat.db", "--from-database", "a b"},
		"--to-database ":  {"import-legacy", "mongodb://127.0.0.1:1/", "--to", "mongodb://127.0.0.1:1/", "--to-database", "a/b"},
		"--database":      {"import-legacy", "mongodb://127.0.0.1:1/", "--database", "a/b"},
	} {
		cmd := newRootCommand()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		err := cmd.ExecuteContext(t.Context())
		require.ErrorContains(t, err, flag[:len(flag)-1])
		require.ErrorContains(t, err, "expected")
	}
	require.NoError(t, checkLegacyDatabase("wa@prod"), "the Node service took any name that MongoDB takes")
}

func TestWhoEndsACommandIsToldToRunItAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cause := errors.New("server selection error")
	require.ErrorIs(t, interrupted(ctx, cause), cause)
	cancel()
	require.EqualError(t, interrupted(ctx, cause), "interrupted: run it again, and it goes on")
	require.NoError(t, interrupted(ctx, nil), "it was done")
	cmd := newRootCommand()
	cmd.SetArgs([]string{"import-legacy", "mongodb://127.0.0.1:1/"})
	cmd.SetOut(io.Discard)
	require.ErrorIs(t, cmd.ExecuteContext(ctx), errInterrupted)
}

func TestTheLastLineOfAMoveSaysWhereHubsStart(t *testing.T) {
	for backup, want := range map[bool]string{
		false: "start hubs on MongoDB database wildcat; none starts on data/wildcat.db any more",
		true:  "data/wildcat.db keeps all it has; start hubs on it or on MongoDB database wildcat, and never on both",
	} {
		var out strings.Builder
		require.NoError(t, printNext(&out, "data/wildcat.db", "MongoDB database wildcat", backup))
		require.Contains(t, out.String(), want)
		require.Equal(t, 1, strings.Count(out.String(), "\n"))
	}
}
