package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
)

// fault is a deliberate mistake: a text in a source file and what replaces it.
type fault struct {
	file     string
	old, new string
	// points are where a crash must show it.
	points []string
	// engine is the one that it is a fault of; "" for any.
	engine string
	// more are the further changes that it takes.
	more []edit
	// paused: it shows in a hub that is stopped and woken.
	paused bool
}

// edit is a change of a file.
type edit struct{ file, old, new string }

var faults = map[string]fault{
	"acknowledge before append": {
		file: "core/pipeline/intake.go",
		old:  "\t_, err := p.append(ctx, ev, nil)\n\treturn err\n",
		new:  "\tgo func() { _, _ = p.append(context.WithoutCancel(ctx), ev, nil) }()\n\treturn nil\n",
		// The queue of appends that are acknowledged and not yet made is lost.
		points: []string{"after_append", "after_verdict"},
	},
	"random reply id": {
		file:   "core/send/run.go",
		old:    "whatsapp.Outgoing{ID: snd.WAID,",
		new:    "whatsapp.Outgoing{ID: c.q.deps.Render.NewID(),",
		points: []string{"after_accept"},
	},
	"stage before children": {
		file: "core/store/sqlite/settle.go",
		old:  "\terr := s.writePatiently(ctx, size, func(t *tx) error { return settle(t, st, prev, now) })\n",
		new: `	early := *st
	early.Sends, early.Deliveries = nil, nil
	err := s.write(ctx, size, func(t *tx) error { return settle(t, &early, nil, now) })
	if err == nil {
		crashpoint.Hit("stage_first")
		err = s.write(ctx, size, func(t *tx) error {
			var ev settled
			if _, err := t.row("SELECT n, chat_n, seq FROM events WHERE id = ?", []any{packID(st.EventID)}, &ev.n, &ev.chatN, &ev.seq); err != nil {
				return err
			}
			for i := range st.Sends {
				if err := insertSend(t, &st.Sends[i], now, "ON CONFLICT (id) DO NOTHING"); err != nil {
					return err
				}
			}
			for i := range st.Deliveries {
				var err error
				if prev[i], err = insertDelivery(t, ev, &st.Deliveries[i], now); err != nil {
					return err
				}
			}
			return nil
		})
	}
`,
		points: []string{"stage_first"},
		engine: "sqlite",
	},
	"stage before children, MongoDB": {
		file: "core/store/mongo/settle.go",
		old:  "\tcrashpoint.Hit(\"after_verdict\")\n\tleft := pending(ops)\n",
		new: `	left := pending(ops)
	if err := s.storeStages(ctx, left); err != nil {
		return err
	}
	crashpoint.Hit("stage_first")
	for _, op := range left {
		op.done = false
	}
`,
		points: []string{"stage_first"},
		engine: "mongo",
	},
	"resend without sending": {
		file: "core/send/run.go",
		old: `	moved, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: snd.State, To: store.SendSending, Attempt: snd.Attempt, Epoch: epoch, At: q.deps.Now(),
	})
`,
		// The mark is made only once the stanza has left, so a crash in between leaves no trace of the attempt.
		new: `	moved, err := snd, error(nil)
	inner := c.sender
	c = &connection{q: q, account: c.account, epoch: epoch, unsent: c.unsent, sender: senderFunc(func(ctx context.Context, m whatsapp.Outgoing) (whatsapp.Accepted, error) {
		got, err := inner.Send(ctx, m)
		if err == nil {
			moved, err = q.deps.Store.MoveSend(ctx, store.SendMove{
				ID: snd.ID, From: snd.State, To: store.SendSending, Attempt: snd.Attempt, Epoch: epoch, At: q.deps.Now(),
			})
		}
		return got, err
	})}
`,
		points: []string{"after_accept"},
	},
}

// leaseFaults are those of several hubs.
var leaseFaults = map[string]fault{
	"leases taken too early": {
		file: "core/store/mongo/leases.go",
		old:  "x.Owner != \"\" && x.Until != nil && x.Until.After(s.now())\n\tif live",
		new:  "x.Owner != \"\" && x.Until != nil && x.Until.After(s.now().Add(2500*time.Millisecond))\n\tif live",
		more: []edit{{
			"core/store/mongo/leases.go",
			"if x.Owner != \"\" && x.Until != nil && x.Until.After(s.now()) {",
			"if x.Owner != \"\" && x.Until != nil && x.Until.After(s.now().Add(2500*time.Millisecond)) {",
		}},
	},
	"lease given back before the connection ends": {
		file: "core/account/owner.go",
		old:  "\to.hangUp()\n\to.release()\n",
		new:  "\to.release()\n\ttime.Sleep(2 * time.Second)\n\to.hangUp()\n",
	},
	"a partition given back before its deliveries end": {
		file: "core/partition/tenure.go",
		old:  "\terr := k.deps.Disown(ctx, p)\n",
		new:  "\terr := errors.Join(k.deps.Store.ReleaseLease(ctx, t.lease))\n\ttime.Sleep(2 * time.Second)\n\terr = errors.Join(err, k.deps.Disown(context.Background(), p))\n",
		more: []edit{{"core/partition/tenure.go", "import (\n\t\"context\"\n", "import (\n\t\"context\"\n\t\"errors\"\n"}},
	},
	"acting goes on after the lease": { // which leaves it to the fences in the database
		file:   "core/account/tenure.go",
		old:    "\treturn l.Epoch != 0 && l.Epoch == epoch && m.deps.Clock.Now().Before(l.Until)\n",
		new:    "\treturn l.Epoch == epoch\n",
		more:   []edit{{"core/account/keeper.go", "\t\tif left <= 0 {\n", "\t\tif left <= 0 {\n\t\t\t<-k.ctx.Done()\n\t\t\treturn\n\t\t}\n\t\tif left <= 0 {\n"}},
		paused: true,
	},
}

// senderFunc is declared for the fault above.
const senderFunc = `
type senderFunc func(context.Context, whatsapp.Outgoing) (whatsapp.Accepted, error)

func (f senderFunc) Send(ctx context.Context, m whatsapp.Outgoing) (whatsapp.Accepted, error) { return f(ctx, m) }
`

// overlay writes the changed files beside the source and returns the file that tells
// the compiler to take them instead.
func overlay(ctx context.Context, t *testing.T, f fault) string {
	source, err := scenario.SourceDir(ctx)
	require.NoError(t, err)
	dir := t.TempDir()
	replace := map[string]string{}
	for _, e := range append([]edit{{f.file, f.old, f.new}}, f.more...) {
		path := filepath.Join(source, filepath.FromSlash(e.file))
		from := path
		if replace[path] != "" {
			from = replace[path]
		}
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(text), e.old), "%s has changed: the fault must be written anew", e.file)
		changed := strings.Replace(string(text), e.old, e.new, 1)
		if strings.Contains(e.new, "senderFunc(") {
			changed += senderFunc
		}
		if replace[path] == "" {
			replace[path] = filepath.Join(dir, fmt.Sprintf("changed%d.go", len(replace)))
		}
		require.NoError(t, os.WriteFile(replace[path], []byte(changed), 0o600))
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	return file
}

// TestFaultsStillApply keeps the deliberate faults in step with the source, so that
// make crash does not find out late.
func TestFaultsStillApply(t *testing.T) {
	for _, all := range []map[string]fault{faults, leaseFaults} {
		for name, f := range all {
			t.Run(name, func(t *testing.T) { overlay(t.Context(), t, f) })
		}
	}
}
