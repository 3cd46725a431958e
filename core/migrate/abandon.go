package migrate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// ErrNothingToAbandon says that no import into the database is unfinished.
var ErrNothingToAbandon = errors.New("no unfinished import")

// abandonHint tells whoever cannot finish an import how the database is used all the same.
const abandonHint = "`wildcat import-legacy --abandon` with the same --to gives it up, and keeps what was taken over"

// Kept is how much of a kind a database holds.
type Kept struct {
	Kind string
	N    int
}

// Abandon gives up an import that is not finished: hubs start on the database again. What was
// taken over stays, and the map of ids too, so that the same import can be run again later,
// and goes on. It returns what the database holds now, what hubs had before included.
//
// Errors wrap ErrNothingToAbandon, ErrInUse, and ErrUnfinished if it is the target of a move.
// It may be repeated after an error.
func Abandon(ctx context.Context, to *Side, now func() time.Time) ([]Kept, error) {
	if now == nil {
		now = time.Now
	}
	i := &importing{to: to, guards: guards{now: now}}
	kept, err := i.abandon(ctx)
	return kept, errors.Join(err, i.release(context.WithoutCancel(ctx)))
}

func (i *importing) abandon(ctx context.Context) ([]Kept, error) {
	owner := make([]byte, 8)
	_, _ = rand.Read(owner) // never fails
	if err := i.claim(ctx, i.to, "abandon "+hex.EncodeToString(owner)); err != nil {
		return nil, err
	}
	if err := i.abandonable(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", i.to.Name, err)
	}
	var kept []Kept
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"look at the target", i.survey},
		// A hub could number no event of a chat whose counter is behind its events.
		{"number chats", i.writeChats},
		{"complete messages", i.completeMessages},
		{"count", func(ctx context.Context) (err error) { kept, err = i.count(ctx); return err }},
		{"look for hubs", i.undisturbed},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if err := i.to.Store.SetKV(ctx, namespace, importKey, nil, 0); err != nil {
		return nil, fmt.Errorf("take the mark away: %w", err)
	}
	return kept, nil
}

// abandonable refuses a database that waits for no import.
func (i *importing) abandonable(ctx context.Context) error {
	have, err := readMark(ctx, i.to.Store, sourceKey)
	switch {
	case err == nil && !have.Done:
		return fmt.Errorf("%w: of `wildcat migrate`, whose target is a new database: run that again, or delete the target instead", ErrUnfinished)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	unfinished, err := Importing(ctx, i.to.Store)
	if err == nil && !unfinished {
		err = ErrNothingToAbandon
	}
	return err
}

// Importing tells whether a database waits for an import to be finished.
func Importing(ctx context.Context, s store.KV) (bool, error) {
	have, err := readMark(ctx, s, importKey)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && !have.Done, err
}

// completeMessages makes messages of those events that an import had written when it was cut
// short, and whose messages it had not: nobody would see them. When they were changed last only
// the source knows; an import that goes on corrects it.
func (i *importing) completeMessages(ctx context.Context) error {
	have := map[eventKey]bool{}
	err := each(ctx, i.to.Store, store.KindMessages, func(records []any) error {
		return errors.Join(i.touch(ctx), store.Each(records, func(m store.MessageRecord) error {
			have[keyOf(m.EventID)] = true
			return nil
		}))
	})
	if err != nil {
		return err
	}
	return each(ctx, i.to.Store, store.KindEvents, func(records []any) error {
		var missing []any
		err := store.Each(records, func(e store.StoredEvent) error {
			ev, key := e.Event, keyOf(e.Event.ID)
			if ev.Type == sdk.TypeMessage && ev.Message != nil && i.there[key].imported && !have[key] {
				missing = append(missing, store.MessageRecord{
					EventID: ev.ID, Account: ev.Account, Chat: ev.Chat, WAID: ev.Message.ID, Time: ev.Message.Time, UpdatedAt: e.StoredAt,
				})
			}
			return nil
		})
		if err := errors.Join(err, i.touch(ctx)); err != nil {
			return err
		}
		return i.to.Store.Import(ctx, store.KindMessages, missing)
	})
}

func (i *importing) count(ctx context.Context) ([]Kept, error) {
	var kept []Kept
	for _, k := range []struct {
		line string
		kind store.Kind
	}{
		{lineAccounts, store.KindAccounts}, {lineWebhooks, store.KindWebhooks}, {lineFiles, store.KindBlobs}, {lineMessages, store.KindMessages},
	} {
		n := 0
		err := each(ctx, i.to.Store, k.kind, func(records []any) error {
			n += len(records)
			return i.touch(ctx)
		})
		if err != nil {
			return nil, err
		}
		kept = append(kept, Kept{Kind: k.line, N: n})
	}
	return kept, nil
}
