// Package migrate moves all that a hub has stored between SQLite and MongoDB, device keys
// and files included, so that nobody pairs again; and takes over what the Node.js service
// before it has stored (Import). It owns the order, the marks that tell
// an unfinished move from a whole one, and the comparison at the end; it does not own how
// records are read and written (store.Transfer, package devices).
//
// Every step may be repeated: records are replaced by what the source has, in the order
// in which it stored them. So a move that was cut short is simply run again, and follows
// what has changed meanwhile.
package migrate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/devices/rows"
	"github.com/wildcathub/wildcat/core/store"
)

// The errors that callers tell apart, always wrapped.
var (
	// ErrInUse: a hub, or another move, uses one of the databases.
	ErrInUse = errors.New("in use")
	// ErrForeign: the target holds something that did not come from this source.
	ErrForeign = errors.New("the target holds something else")
	// ErrEmpty: the source holds no account; most likely its name is misspelt.
	ErrEmpty = errors.New("the source holds no accounts")
	// ErrUnfinished: the database holds a move that was not finished.
	ErrUnfinished = errors.New("an unfinished move")
	// ErrMoved: the database was moved, and what was moved may be in use.
	ErrMoved = errors.New("the database was moved")
	// ErrDiffers: source and target are not the same.
	ErrDiffers = errors.New("source and target differ")
)

// Where the marks are; this part of the map is not moved.
const (
	namespace = "migration"
	sourceKey = "source"
	idKey     = "id"
	importKey = "import"
	movedKey  = "moved"
	// leaseName keeps hubs and other moves away from a database that is shared.
	leaseName = "migration"
	leaseTTL  = 5 * time.Minute
)

// page is how many records are moved at once.
const page = 200

// mark is what the target holds of a move.
type mark struct {
	// ID is the source's.
	ID   string `json:"id"`
	Done bool   `json:"done"`
}

// gone is what the source holds once it was moved: no hub starts on it any more. Two that use
// the same keys break them.
type gone struct {
	To string    `json:"to"`
	At time.Time `json:"at"`
}

// Options changes how a move runs. All of it may be zero.
type Options struct {
	// Backup leaves the source in use. It also gives back one that was moved to this target, as
	// long as both are equal: nobody has used either since.
	Backup bool
	// Progress is told a kind once it is copied, and how many records it has.
	Progress func(kind string, n int)
	// Now is the clock.
	Now func() time.Time
}

// move is one run.
type move struct {
	from, to *Side
	opts     Options
	// epoch is the highest that was seen: the next owner of an account must be above it.
	epoch  uint64
	owners map[string]devices.Owner // by device
	guards
}

// Run copies all that from has into to, and compares them. If the move was finished
// before it copies nothing.
func Run(ctx context.Context, from, to *Side, opts Options) (Report, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int) {}
	}
	m := &move{from: from, to: to, opts: opts, owners: map[string]devices.Owner{}, guards: guards{now: opts.Now}}
	report, err := m.run(ctx)
	return report, errors.Join(err, m.release(context.WithoutCancel(ctx)))
}

func (m *move) run(ctx context.Context) (Report, error) {
	for _, s := range []*Side{m.from, m.to} {
		if err := m.take(ctx, s); err != nil {
			return Report{}, err
		}
	}
	// The source may be the target of a move that was never finished.
	if err := checkMark(ctx, m.from.Store); err != nil {
		return Report{}, fmt.Errorf("%s: %w", m.from.Name, err)
	}
	if err := m.readOwners(ctx); err != nil {
		return Report{}, err
	}
	have, err := m.begin(ctx)
	if err != nil {
		return Report{}, err
	}
	if !have.Done {
		if err := m.copyAll(ctx); err != nil {
			return Report{}, fmt.Errorf("copy: %w", err)
		}
	}
	if err := m.undisturbed(ctx); err != nil {
		return Report{}, err
	}
	report, err := m.compare(ctx)
	if err != nil {
		return report, fmt.Errorf("compare: %w", err)
	}
	report.Before = have.Done
	if !report.Equal() {
		return report, ErrDiffers
	}
	if err := m.undisturbed(ctx); err != nil {
		return report, err
	}
	have.Done = true
	if err := m.write(ctx, have); err != nil {
		return report, err
	}
	return report, m.part(ctx)
}

// part says in the source which of the two is in use from now on.
func (m *move) part(ctx context.Context) error {
	var b []byte // removes it
	if m.opts.Backup {
		was, err := readMoved(ctx, m.from.Store)
		if err != nil || was == nil || was.To != m.to.Name {
			return err // not moved, or elsewhere
		}
	} else {
		var err error
		if b, err = json.Marshal(gone{To: m.to.Name, At: m.opts.Now()}); err != nil {
			return fmt.Errorf("mark the source: %w", err)
		}
	}
	if err := m.from.Store.SetKV(ctx, namespace, movedKey, b, 0); err != nil {
		return fmt.Errorf("mark the source: %w", err)
	}
	return nil
}

// begin recognises the target: empty, or of this source.
func (m *move) begin(ctx context.Context) (mark, error) {
	id, err := m.from.Store.GetKV(ctx, namespace, idKey)
	if errors.Is(err, store.ErrNotFound) {
		raw := make([]byte, 16)
		_, _ = rand.Read(raw) // never fails
		id = []byte(hex.EncodeToString(raw))
		err = m.from.Store.SetKV(ctx, namespace, idKey, id, 0)
	}
	if err != nil {
		return mark{}, fmt.Errorf("name the source: %w", err)
	}
	have, err := readMark(ctx, m.to.Store, sourceKey)
	switch {
	case err == nil && have.ID != string(id):
		return mark{}, fmt.Errorf("%s: %w: a move from another database", m.to.Name, ErrForeign)
	case err == nil:
		return have, nil
	case !errors.Is(err, store.ErrNotFound):
		return mark{}, err
	}
	// What was moved may have been used elsewhere since, and be old: this must be wanted.
	if err := checkMoved(ctx, m.from.Store); err != nil && !m.opts.Backup {
		return mark{}, fmt.Errorf("%s: %w; --backup copies it once more all the same", m.from.Name, err)
	}
	if err := m.checkEmpty(ctx); err != nil {
		return mark{}, err
	}
	have = mark{ID: string(id)}
	return have, m.write(ctx, have)
}

func (m *move) write(ctx context.Context, have mark) error {
	return writeMark(ctx, m.to.Store, sourceKey, have)
}

func writeMark(ctx context.Context, s store.KV, key string, have mark) error {
	b, err := json.Marshal(have)
	if err == nil {
		err = s.SetKV(ctx, namespace, key, b, 0)
	}
	if err != nil {
		return fmt.Errorf("mark the target: %w", err)
	}
	return nil
}

func readMark(ctx context.Context, s store.KV, key string) (mark, error) {
	var have mark
	b, err := s.GetKV(ctx, namespace, key)
	if err != nil {
		return have, err
	}
	if err := json.Unmarshal(b, &have); err != nil {
		return have, fmt.Errorf("mark of a move: %w", err)
	}
	return have, nil
}

// Check refuses a database that a move is writing, or was writing when it was cut short, and
// one that was moved.
func Check(ctx context.Context, s store.Store) error {
	held, err := s.ListLeases(ctx, leaseName)
	if err != nil {
		return err
	}
	for _, l := range held {
		if l.Name == leaseName {
			return fmt.Errorf("the database is being moved: %w", ErrInUse)
		}
	}
	if err := checkMoved(ctx, s); err != nil {
		return err
	}
	return checkMark(ctx, s)
}

func checkMoved(ctx context.Context, s store.KV) error {
	was, err := readMoved(ctx, s)
	if err != nil || was == nil {
		return err
	}
	return fmt.Errorf("%w to %s at %s: start hubs on that one; if none has run there, the same `wildcat migrate` with --backup gives this one back",
		ErrMoved, was.To, was.At.UTC().Format(time.DateTime))
}

// readMoved returns where a database was moved, nil for nowhere.
func readMoved(ctx context.Context, s store.KV) (*gone, error) {
	b, err := s.GetKV(ctx, namespace, movedKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	was := new(gone)
	if err == nil {
		err = json.Unmarshal(b, was)
	}
	if err != nil {
		return nil, fmt.Errorf("mark of a move: %w", err)
	}
	return was, nil
}

func checkMark(ctx context.Context, s store.KV) error {
	for _, of := range []struct{ key, way string }{
		{sourceKey, "run `wildcat migrate` again, or use another database"},
		{importKey, "run `wildcat import-legacy` again, or use another database; if it cannot be finished, " + abandonHint},
	} {
		have, err := readMark(ctx, s, of.key)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && have.Done:
		case err != nil:
			return err
		default:
			return fmt.Errorf("%w: %s", ErrUnfinished, of.way)
		}
	}
	return nil
}

// checkEmpty refuses a target that holds anything but leases.
func (m *move) checkEmpty(ctx context.Context) error {
	for _, k := range store.Kinds() {
		if k == store.KindLeases {
			continue
		}
		err := each(ctx, m.to.Store, k, func(records []any) error {
			if len(moved(records)) > 0 {
				return fmt.Errorf("%s: %w: %s", m.to.Name, ErrForeign, k)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	ids, err := m.to.Keys.List(ctx)
	if err == nil && len(ids) > 0 {
		err = fmt.Errorf("%s: %w: keys of %d devices", m.to.Name, ErrForeign, len(ids))
	}
	return err
}

// each reads a kind page by page.
func each(ctx context.Context, s store.Transfer, k store.Kind, do func(records []any) error) error {
	for after := ""; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		records, next, err := s.Export(ctx, k, after, page)
		if err != nil {
			return err
		}
		if err := do(records); err != nil || next == "" {
			return err
		}
		after = next
	}
}

// hubs is where hubs on one database keep their addresses and the secret that they share.
const hubs = "hub/peers"

// moved leaves out what belongs to a database itself: the marks of moves, its hubs, and the
// leases of instances and moves.
func moved(records []any) []any {
	var out []any
	for _, r := range records {
		switch x := r.(type) {
		case store.KVRecord:
			if x.Namespace == namespace || x.Namespace == hubs {
				continue
			}
		case store.Lease:
			if x.Name == leaseName || strings.HasPrefix(x.Name, "instance/") {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// readOwners finds out whose the devices are.
func (m *move) readOwners(ctx context.Context) error {
	accounts, err := m.from.Store.ListAccounts(ctx)
	if err == nil && len(accounts) == 0 {
		err = fmt.Errorf("%s: %w", m.from.Name, ErrEmpty)
	}
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if a.JID != "" {
			m.owners[a.JID] = devices.Owner{Account: a.ID, Collection: a.Collection}
		}
	}
	return nil
}

// tablesOf are those that belong to devices.
func tablesOf() []rows.Table { return rows.Tables()[:len(rows.Tables())-1] }

// lidTable belongs to no device.
func lidTable() rows.Table { return rows.Tables()[len(rows.Tables())-1] }
