package migrate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// history is what an import knows of events: some 50 bytes for each.
type history struct {
	there map[eventKey]place       // what the target held before
	seen  map[eventKey]bool        // what the source holds, as far as it was read
	next  map[store.ChatRef]uint64 // the last number of each chat
	moved map[store.ChatRef]bool   // the chats that got a new number
	batch []importedEvent          // not written yet
}

// eventKey stands for an event's id.
type eventKey [16]byte

func keyOf(id string) eventKey {
	sum := sha256.Sum256([]byte(id))
	return eventKey(sum[:16])
}

// place is where an event stands in its chat. One that an import has brought is told by
// its epoch: no hub has written it.
type place struct {
	seq      uint64
	imported bool
}

type importedEvent struct {
	event  store.StoredEvent
	record *store.MessageRecord // nil for what is no message
}

// survey looks at what the target holds.
func (i *importing) survey(ctx context.Context) error {
	i.history = history{
		there: map[eventKey]place{}, seen: map[eventKey]bool{}, next: map[store.ChatRef]uint64{}, moved: map[store.ChatRef]bool{},
	}
	err := each(ctx, i.to.Store, store.KindChats, func(records []any) error {
		return store.Each(records, func(c store.ChatRecord) error {
			i.next[store.ChatRef{Account: c.Account, Chat: c.Chat}] = c.Seq
			return nil
		})
	})
	if err != nil {
		return err
	}
	return each(ctx, i.to.Store, store.KindEvents, func(records []any) error {
		if err := i.touch(ctx); err != nil {
			return err
		}
		return store.Each(records, func(e store.StoredEvent) error {
			i.there[keyOf(e.Event.ID)] = place{seq: e.Event.Seq, imported: e.Epoch == 0 && e.Stage == store.StageDone && len(e.Verdict) == 0}
			// What was cut short may have written events and not yet their chat.
			ref := store.ChatRef{Account: e.Event.Account, Chat: e.Event.Chat}
			if e.Event.Seq > i.next[ref] {
				i.next[ref], i.moved[ref] = e.Event.Seq, true
			}
			return nil
		})
	})
}

func (i *importing) takeMessages(ctx context.Context) error {
	t := i.report.of(lineMessages)
	err := i.from.Messages(ctx, i.names, func(m legacy.Message, skip *legacy.Skipped) error {
		t.Found++
		if skip != nil {
			t.skip(*skip)
			return nil
		}
		if reason, err := i.takeMessage(ctx, t, m); err != nil || reason != "" {
			if reason != "" {
				t.skip(legacy.Skipped{ID: m.Event.WAID, Reason: reason})
			}
			return err
		}
		if len(i.batch) < page {
			return nil
		}
		return i.flush(ctx)
	})
	if err == nil {
		err = i.flush(ctx)
	}
	if err == nil {
		err = i.writeChats(ctx)
	}
	i.opts.Progress(lineMessages, len(i.seen))
	return err
}

// takeMessage puts an event into the batch, or says why not.
func (i *importing) takeMessage(ctx context.Context, t *tally, m legacy.Message) (reason string, err error) {
	ev := m.Event
	if err := i.attach(ctx, ev, m.FileID); err != nil {
		return "", err
	}
	others, err := i.ids.Identify(ctx, ev)
	if err != nil {
		return "", err
	}
	key := keyOf(ev.ID)
	for _, id := range append(others, ev.ID) {
		k := keyOf(id)
		if i.seen[k] {
			return reasonRepeated, nil
		}
		if p, known := i.there[k]; known && (!p.imported || k != key) {
			return reasonThere, nil
		}
	}
	i.seen[key] = true
	ref := store.ChatRef{Account: ev.Account, Chat: ev.Chat}
	at, known := i.there[key]
	if !known {
		i.next[ref]++
		i.moved[ref] = true
		at.seq = i.next[ref]
	}
	ev.Seq = at.seq
	x := importedEvent{event: store.StoredEvent{Event: ev, Stage: store.StageDone, StoredAt: m.StoredAt, DoneAt: m.StoredAt}}
	if ev.Message != nil {
		x.record = &store.MessageRecord{
			EventID: ev.ID, Account: ev.Account, Chat: ev.Chat, WAID: ev.Message.ID, Time: ev.Message.Time, UpdatedAt: m.UpdatedAt,
		}
	}
	i.batch = append(i.batch, x)
	if err := t.expect(eventRecord(x.event)); err != nil || x.record == nil {
		return "", err
	}
	return "", t.expectPart(messageRecord(*x.record))
}

// attach finds a message's file in the target.
func (i *importing) attach(ctx context.Context, ev *sdk.Event, file string) error {
	if ev.Message == nil || ev.Message.Media == nil {
		return nil
	}
	media := ev.Message.Media
	media.ID, media.Status = "", "failed"
	if file == "" { // some documents lack it, while the file knows its message
		list, err := i.to.Store.ListBlobs(ctx, store.BlobQuery{
			Account: ev.Account, Meta: map[string]string{"messageId": ev.Message.ID}, Limit: 1,
		})
		if err != nil {
			return err
		}
		if len(list) == 1 {
			file = list[0].ID
		}
	}
	if !i.files[file] {
		return nil
	}
	r, info, err := i.to.Store.OpenBlob(ctx, file)
	if err != nil {
		return err
	}
	if err := r.Close(); err != nil || info.Account != ev.Account {
		return err
	}
	media.ID, media.Status, media.Size, media.SHA256 = file, "stored", info.Size, info.SHA256
	if media.MIME == "" {
		media.MIME = info.MIME
	}
	return nil
}

// flush writes the batch.
func (i *importing) flush(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), i.touch(ctx)); err != nil {
		return err
	}
	var events, records []any
	for _, x := range i.batch {
		events = append(events, x.event)
		if x.record != nil {
			records = append(records, *x.record)
		}
	}
	i.batch = i.batch[:0]
	if err := i.to.Store.Import(ctx, store.KindEvents, events); err != nil {
		return err
	}
	return i.to.Store.Import(ctx, store.KindMessages, records)
}

// writeChats brings the chats' counters up to what was numbered. What the store has found
// out meanwhile of chats that are one stays.
func (i *importing) writeChats(ctx context.Context) error {
	chats := map[store.ChatRef]store.ChatRecord{}
	err := each(ctx, i.to.Store, store.KindChats, func(records []any) error {
		return store.Each(records, func(c store.ChatRecord) error {
			chats[store.ChatRef{Account: c.Account, Chat: c.Chat}] = c
			return nil
		})
	})
	if err != nil {
		return err
	}
	var write []any
	for ref := range i.moved {
		c := chats[ref]
		c.Account, c.Chat, c.Seq = ref.Account, ref.Chat, max(c.Seq, i.next[ref])
		write = append(write, c)
	}
	slices.SortFunc(write, func(a, b any) int {
		x, y := a.(store.ChatRecord), b.(store.ChatRecord)
		return cmp.Or(cmp.Compare(x.Account, y.Account), cmp.Compare(x.Chat, y.Chat))
	})
	for p := range slices.Chunk(write, page) {
		if err := i.touch(ctx); err != nil {
			return err
		}
		if err := i.to.Store.Import(ctx, store.KindChats, p); err != nil {
			return err
		}
	}
	return nil
}

// eventRecord is what is compared of an event: its number in the chat is the target's.
func eventRecord(e store.StoredEvent) any {
	bare := *e.Event
	bare.Seq = 0
	return []any{bare, e.StoredAt.UnixMilli(), int(e.Stage)}
}

func messageRecord(m store.MessageRecord) any {
	return []any{m.EventID, m.Account, m.WAID, m.Time.UnixMilli(), m.UpdatedAt.UnixMilli()}
}

// compareMessages reads what the target holds.
func (i *importing) compareMessages(ctx context.Context) error {
	t := i.report.of(lineMessages)
	err := each(ctx, i.to.Store, store.KindEvents, func(records []any) error {
		if err := i.touch(ctx); err != nil {
			return err
		}
		return store.Each(records, func(e store.StoredEvent) error {
			if !i.seen[keyOf(e.Event.ID)] {
				return nil
			}
			return t.holds(eventRecord(e))
		})
	})
	if err != nil {
		return err
	}
	return each(ctx, i.to.Store, store.KindMessages, func(records []any) error {
		if err := i.touch(ctx); err != nil {
			return err
		}
		return store.Each(records, func(m store.MessageRecord) error {
			if !i.seen[keyOf(m.EventID)] {
				return nil
			}
			return t.holdsPart(messageRecord(m))
		})
	})
}
