package mongo

import (
	"context"
	"encoding/json"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// Import implements store.Transfer. One command writes a page, in its order, so that what
// a kill leaves is its beginning, and the positions given out are those of the order.
func (s *Store) Import(ctx context.Context, k store.Kind, records []any) error {
	if len(records) == 0 {
		return nil
	}
	err := s.imported(ctx, k, records)
	s.lanes.write.Lock()
	s.lanes.forget()
	s.lanes.write.Unlock()
	s.aliases.forget()
	if err != nil {
		return fmt.Errorf("import %s: %w", k, err)
	}
	return nil
}

func (s *Store) imported(ctx context.Context, k store.Kind, records []any) error {
	switch k {
	case store.KindAccounts:
		return importAll(ctx, s, collAccounts, records, s.accountIn)
	case store.KindChats:
		return importAll(ctx, s, collChats, records, chatIn)
	case store.KindAliases:
		return importAll(ctx, s, collAliases, records, aliasIn)
	case store.KindEvents:
		return importAll(ctx, s, collEvents, records, func(e store.StoredEvent) (placed, error) { return s.eventIn(ctx, e) })
	case store.KindMessages:
		return s.importMessages(ctx, records)
	case store.KindSends:
		return importAll(ctx, s, collSends, records, s.sendIn)
	case store.KindDeliveries:
		return importAll(ctx, s, collDeliveries, records, s.deliveryIn)
	case store.KindEndpoints:
		return store.Each(records, func(x store.EndpointState) error { return s.SaveEndpoint(ctx, x) })
	case store.KindWebhooks:
		return importAll(ctx, s, collWebhooks, records, webhookIn)
	case store.KindKV:
		return importAll(ctx, s, collKV, records, s.kvIn)
	case store.KindLeases:
		return store.Each(records, func(l store.Lease) error { return s.importLease(ctx, l) })
	}
	return fmt.Errorf("%q is no kind of records", string(k))
}

// placed is a document to be, and how it takes its position; at is nil for kinds
// without one.
type placed struct {
	id  string
	doc any
	at  func(pos string)
}

// importAll replaces documents. What is there keeps its position.
func importAll[T any](ctx context.Context, s *Store, coll string, records []any, in func(T) (placed, error)) error {
	var all []placed
	err := store.Each(records, func(x T) error {
		p, err := in(x)
		all = append(all, p)
		return err
	})
	if err != nil {
		return err
	}
	return s.importPlaced(ctx, coll, all)
}

func (s *Store) importPlaced(ctx context.Context, coll string, all []placed) error {
	for len(all) > 0 {
		n := min(len(all), maxBatch)
		ids := make([]string, n)
		for i, p := range all[:n] {
			ids[i] = p.id
		}
		type there struct {
			ID  string `bson:"_id"`
			Pos string `bson:"pos"`
		}
		found, err := findAll[there](ctx, s, coll, doc(el("_id", in(ids))), find().SetProjection(doc(el("pos", 1))))
		if err != nil {
			return err
		}
		known := map[string]string{}
		for _, x := range found {
			known[x.ID] = x.Pos
			s.pos.seen(x.Pos)
		}
		models := make([]mongo.WriteModel, n)
		for i, p := range all[:n] {
			if p.at != nil {
				pos := known[p.id]
				if pos == "" {
					pos = s.pos.next()
				}
				p.at(pos)
			}
			models[i] = mongo.NewReplaceOneModel().SetFilter(byID(p.id)).SetReplacement(p.doc).SetUpsert(true)
		}
		err = s.do(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.coll(coll).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true))
			return err
		})
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func (s *Store) accountIn(a store.Account) (placed, error) {
	return placed{id: a.ID, doc: newAccountDoc(a, s.pos.next())}, checkAccount(a.ID)
}

func chatIn(c store.ChatRecord) (placed, error) {
	x := chatDoc{
		ID: laneOf(c.Account, clean(c.Chat)), Account: c.Account, Chat: clean(c.Chat), Seq: number(c.Seq), Epoch: number(c.Epoch),
		MergedInto: clean(c.MergedInto),
	}
	return placed{id: x.ID, doc: x}, checkAccount(c.Account)
}

func aliasIn(a store.AliasRecord) (placed, error) {
	form := clean(a.Form)
	x := &aliasDoc{ID: aliasID(a.Account, form), Account: a.Account, Form: form, Root: clean(a.Key)}
	return placed{id: x.ID, doc: x, at: func(pos string) { x.Pos = pos }}, checkAccount(a.Account)
}

func (s *Store) eventIn(ctx context.Context, e store.StoredEvent) (placed, error) {
	bare := *e.Event
	bare.Seq = 0
	body, err := json.Marshal(&bare)
	if err != nil {
		return placed{}, fmt.Errorf("encode event %s: %w", bare.ID, err)
	}
	x := &eventDoc{
		ID: bare.ID, Account: bare.Account, Chat: clean(bare.Chat), Seq: number(e.Event.Seq), Stage: int(e.Stage),
		Epoch: number(e.Epoch), StoredAt: stamp(e.StoredAt), DoneAt: stamp(e.DoneAt), Verdict: e.Verdict, Body: string(body),
	}
	if e.Stage < store.StageDone {
		x.Open = laneOf(x.Account, x.Chat)
	}
	if len(body) > maxInlineBody {
		if x.BodyBlob, err = s.putBody(ctx, &bare, body); err != nil {
			return placed{}, err
		}
		x.Body = ""
	}
	return placed{id: x.ID, doc: x, at: func(pos string) { x.Pos = pos }}, checkAccount(bare.Account)
}

// importMessages takes each one's position and time of storing from its event.
func (s *Store) importMessages(ctx context.Context, records []any) error {
	var ids []string
	err := store.Each(records, func(m store.MessageRecord) error {
		ids = append(ids, m.EventID)
		return nil
	})
	if err != nil {
		return err
	}
	events, err := findAll[eventDoc](ctx, s, collEvents, doc(el("_id", in(ids))), find().SetProjection(doc(el("pos", 1), el("storedAt", 1))))
	if err != nil {
		return err
	}
	known := map[string]eventDoc{}
	for _, e := range events {
		known[e.ID] = e
	}
	return importAll(ctx, s, collMessages, records, func(m store.MessageRecord) (placed, error) {
		e, ok := known[m.EventID]
		if !ok {
			return placed{}, fmt.Errorf("message %s: its event: %w", m.EventID, store.ErrNotFound)
		}
		return placed{id: m.EventID, doc: messageDoc{
			ID: m.EventID, Account: m.Account, Chat: clean(m.Chat), MessageID: clean(m.WAID), Time: m.Time.UnixMilli(), Pos: e.Pos,
			CreatedAt: e.StoredAt, UpdatedAt: stamp(m.UpdatedAt), Body: string(m.Body),
		}}, nil
	})
}

func (s *Store) sendIn(m store.Send) (placed, error) {
	x, err := s.newSendDoc(&m)
	return placed{id: x.ID, doc: &x, at: func(pos string) { x.Pos = pos }}, err
}

func (s *Store) deliveryIn(d store.Delivery) (placed, error) {
	x := s.newDeliveryDoc(&d)
	x.Chat, x.State, x.Seq, x.Prev, x.Epoch = clean(d.Chat), string(d.State), number(d.Seq), number(d.Prev), number(d.Epoch)
	x.Lane, x.UpdatedAt = laneOf(d.Account, x.Chat), stamp(d.UpdatedAt)
	for _, a := range d.Attempts {
		text, err := json.Marshal(a)
		if err != nil {
			return placed{}, fmt.Errorf("delivery %s: attempts: %w", d.ID, err)
		}
		x.Attempts = append(x.Attempts, string(text))
	}
	return placed{id: x.ID, doc: &x, at: func(pos string) { x.Pos = pos }}, known(d.State, deliveryStates())
}

func webhookIn(w store.Webhook) (placed, error) {
	x := &webhookDoc{
		ID: w.ID, URL: w.URL, AccountID: w.Account, Events: w.Events, Secret: w.Secret, Headers: pairs(w.Headers), CreatedAt: stamp(w.CreatedAt),
	}
	return placed{id: x.ID, doc: x, at: func(pos string) { x.Pos = pos }}, nil
}

func (s *Store) kvIn(r store.KVRecord) (placed, error) {
	value := r.Value
	if value == nil {
		value = []byte{}
	}
	x := s.newKVDoc(r.Namespace, r.Key, value, 0)
	x.Expires = stamp(r.Expires)
	return placed{id: x.ID, doc: x}, nil
}

// importLease frees a lease and raises its epoch.
func (s *Store) importLease(ctx context.Context, l store.Lease) error {
	op := s.pos.next()
	_, err := s.insertAll(ctx, collLeases, []any{leaseDoc{Name: l.Name, Epoch: number(l.Epoch), Op: op}})
	if err != nil {
		return err
	}
	_, err = s.updateAll(ctx, collLeases, []bulkUpdate{{
		filter: byID(l.Name), update: doc(el("$max", doc(el("epoch", number(l.Epoch))))),
	}})
	return err
}
