package lua

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files writes rule files into a folder and configures them, in order of "name=text".
func files(t testing.TB, nameText ...string) Config {
	t.Helper()
	cfg := Config{Dir: t.TempDir()}
	for i := 0; i < len(nameText); i += 2 {
		require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, nameText[i]), []byte(nameText[i+1]), 0o600))
		cfg.Rules = append(cfg.Rules, RuleConfig{File: nameText[i]})
	}
	return cfg
}

// load loads one file that must be right.
func load(t testing.TB, text string, deps Deps) *Set {
	t.Helper()
	if deps.Slots == 0 {
		deps.Slots = 1
	}
	set, err := Load(files(t, "x.lua", text), deps)
	require.NoError(t, err)
	return set
}

// handler wraps the body of a handler that gets every message.
func body(lua string) string {
	return "wildcat.on(\"message\", {}, function(msg)\n" + lua + "\nend)"
}

// frozen is a clock that stands still, so that no busy machine stops a rule.
func frozen() time.Time { return time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC) }

func message(text string) *sdk.Event {
	at := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	return &sdk.Event{
		ID: "0123456789abcdef0123456789abcdef", Type: sdk.TypeMessage, Account: "sales",
		Chat: "4915550001@s.whatsapp.net", Seq: 7, Time: at,
		Message: &sdk.Message{
			ID: "3EB0AA", Chat: "4915550001@s.whatsapp.net", From: "4915550001@s.whatsapp.net",
			SenderPN: "4915550001@s.whatsapp.net", SenderLID: "77@lid", Name: "Ann", Time: at, Kind: sdk.KindText, Text: text,
		},
	}
}

// eval runs the only rule over a message.
func eval(t testing.TB, set *Set, ev *sdk.Event) (pipeline.Verdict, error) {
	t.Helper()
	require.Len(t, set.Rules(), 1)
	return set.Rules()[0].Eval(context.Background(), ev)
}

// answer runs the body of a handler and returns what it replies.
func answer(t testing.TB, lua string) string {
	t.Helper()
	v, err := eval(t, load(t, body(lua), Deps{Now: frozen}), message("hello world"))
	var f *Failure
	if errors.As(err, &f) {
		return "ERR " + f.Message
	}
	require.NoError(t, err)
	var out []string
	for _, a := range v.Actions {
		out = append(out, a.Text)
	}
	return strings.Join(out, "|")
}

// show is a Lua expression list as a reply.
func show(expr string) string {
	return fmt.Sprintf("local function s(...) local o = {} for i = 1, select('#', ...) do o[i] = tostring((select(i, ...))) end return table.concat(o, ',') end\nmsg:reply('=' .. s(%s))", expr)
}
