package mongo

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// Export implements store.Transfer.
func (s *Store) Export(ctx context.Context, k store.Kind, after string, limit int) ([]any, string, error) {
	records, next, err := s.export(ctx, k, after, int(limitOr(limit)))
	if err != nil {
		return nil, "", fmt.Errorf("export %s: %w", k, err)
	}
	return records, next, nil
}

func (s *Store) export(ctx context.Context, k store.Kind, after string, limit int) ([]any, string, error) {
	switch k {
	case store.KindAccounts:
		return whole(s.ListAccounts(ctx))
	case store.KindEndpoints:
		return whole(s.EndpointStates(ctx))
	case store.KindWebhooks:
		return whole(s.ListWebhooks(ctx))
	case store.KindLeases:
		return s.exportLeases(ctx)
	case store.KindEvents:
		page, err := s.ListEvents(ctx, "", after, limit)
		return paged(page, limit, err, func(e store.StoredEvent) string { return e.Event.ID })
	case store.KindSends:
		page, err := s.ListSends(ctx, store.SendQuery{After: after, Limit: limit})
		return paged(page, limit, err, func(x store.Send) string { return x.ID })
	case store.KindDeliveries:
		return s.exportDeliveries(ctx, after, limit)
	case store.KindChats:
		return s.exportChats(ctx, after, limit)
	case store.KindAliases:
		return s.exportAliases(ctx, after)
	case store.KindMessages:
		return s.exportMessages(ctx, after, limit)
	case store.KindKV:
		return s.exportKV(ctx, after, limit)
	case store.KindBlobs:
		return s.exportBlobs(ctx, after, limit)
	}
	return nil, "", fmt.Errorf("%q is no kind", string(k))
}

// whole is the page of a kind of which there are few.
func whole[T any](all []T, err error) ([]any, string, error) { return store.Anys(all), "", err }

// paged is a page whose cursor is the last record's id.
func paged[T any](page []T, limit int, err error, id func(T) string) ([]any, string, error) {
	if err != nil || len(page) < limit {
		return store.Anys(page), "", err
	}
	return store.Anys(page), id(page[len(page)-1]), nil
}

// pageOf reads documents in the order of their ids.
func pageOf[T any](ctx context.Context, s *Store, coll string, after any, limit int) ([]T, error) {
	return findAll[T](ctx, s, coll, doc(el("_id", doc(el("$gt", after)))), find().SetSort(doc(el("_id", 1))).SetLimit(int64(limit)))
}

func (s *Store) exportDeliveries(ctx context.Context, after string, limit int) ([]any, string, error) {
	from, err := s.cursor(ctx, collDeliveries, after)
	if err != nil {
		return nil, "", err
	}
	// The states are named one by one, so that an index gives the order.
	page, err := s.deliveriesOf(findAll[deliveryDoc](ctx, s, collDeliveries,
		doc(el("state", in(deliveryStates())), el("pos", doc(el("$gt", from)))), find().SetSort(doc(el("pos", 1))).SetLimit(int64(limit))))
	return paged(page, limit, err, func(d store.Delivery) string { return d.ID })
}

// exportChats counts a chat's newest event in: counters are written now and then. It
// leaves out steps of merges, of which only the last counts.
func (s *Store) exportChats(ctx context.Context, after string, limit int) ([]any, string, error) {
	page, err := pageOf[chatDoc](ctx, s, collChats, after, limit)
	if err != nil {
		return nil, "", err
	}
	out := make([]store.ChatRecord, len(page))
	for i, c := range page {
		newest, err := s.newestEvent(ctx, c.Account, c.Chat)
		if err != nil {
			return nil, "", err
		}
		out[i] = store.ChatRecord{
			Account: c.Account, Chat: c.Chat, Seq: unsigned(max(c.Seq, newest.Seq)), Epoch: unsigned(max(c.Epoch, newest.Epoch)),
		}
		for range maxMerges {
			if c.MergedInto == "" {
				break
			}
			out[i].MergedInto = c.MergedInto
			next, err := findOne[chatDoc](ctx, s, collChats, byID(laneOf(c.Account, c.MergedInto)), options.FindOne())
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, "", err
			}
			c = next
		}
	}
	return paged(out, limit, nil, func(c store.ChatRecord) string { return laneOf(c.Account, c.Chat) })
}

// exportAliases returns the aliases of one account, which keeps their order within it.
func (s *Store) exportAliases(ctx context.Context, after string) ([]any, string, error) {
	from := ""
	if after != "" {
		from = after + "0" // which follows the slash
	}
	first, err := pageOf[aliasDoc](ctx, s, collAliases, from, 1)
	if err != nil || len(first) == 0 {
		return nil, "", err
	}
	account := first[0].Account
	rows, err := findAll[aliasDoc](ctx, s, collAliases, doc(el("account", account)), find())
	slices.SortFunc(rows, func(a, b aliasDoc) int { return cmp.Compare(a.Pos, b.Pos) })
	out := make([]any, len(rows))
	for i, r := range rows {
		out[i] = store.AliasRecord{Account: r.Account, Form: r.Form, Key: r.Root}
	}
	return out, account, err
}

// exportMessages leaves out rows whose event was never stored.
func (s *Store) exportMessages(ctx context.Context, after string, limit int) ([]any, string, error) {
	page, err := pageOf[messageDoc](ctx, s, collMessages, after, limit)
	if err != nil {
		return nil, "", err
	}
	ids := make([]string, len(page))
	for i, m := range page {
		ids[i] = m.ID
	}
	known, err := s.eventKeys(ctx, ids)
	if err != nil {
		return nil, "", err
	}
	var out []any
	for _, m := range page {
		if _, ok := known[m.ID]; !ok {
			continue
		}
		out = append(out, store.MessageRecord{
			EventID: m.ID, Account: m.Account, Chat: m.Chat, WAID: m.MessageID, Time: time.UnixMilli(m.Time).UTC(),
			UpdatedAt: back(m.UpdatedAt), Body: bodyOf(m.Body),
		})
	}
	if len(page) < limit {
		return out, "", nil
	}
	return out, ids[len(ids)-1], nil
}

func bodyOf(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

func (s *Store) exportKV(ctx context.Context, after string, limit int) ([]any, string, error) {
	page, err := pageOf[kvDoc](ctx, s, collKV, after, limit)
	if err != nil {
		return nil, "", err
	}
	var out []any
	for _, x := range page {
		if !s.live(x) {
			continue
		}
		r := store.KVRecord{Namespace: x.Namespace, Key: x.Key, Value: x.Value, Expires: back(x.Expires)}
		if both, ok := strings.CutPrefix(x.ID, "hex:"); ok { // what is no text stands in the id
			a, b, _ := strings.Cut(both, "/")
			namespace, err := hex.DecodeString(a)
			if err != nil {
				return nil, "", err
			}
			key, err := hex.DecodeString(b)
			if err != nil {
				return nil, "", err
			}
			r.Namespace, r.Key = string(namespace), string(key)
		}
		out = append(out, r)
	}
	if len(page) < limit {
		return out, "", nil
	}
	return out, page[len(page)-1].ID, nil
}

func (s *Store) exportLeases(ctx context.Context) ([]any, string, error) {
	rows, err := findAll[leaseDoc](ctx, s, collLeases, doc(), find().SetSort(doc(el("_id", 1))))
	out := make([]any, len(rows))
	for i, x := range rows {
		out[i] = store.Lease{Name: x.Name, Epoch: unsigned(x.Epoch)}
	}
	return out, "", err
}

// exportBlobs pages by the time of the upload. The cursor is that of the last file, and
// how many of the same time were read.
func (s *Store) exportBlobs(ctx context.Context, after string, limit int) ([]any, string, error) {
	var from, seen int64
	if after != "" {
		if _, err := fmt.Sscanf(after, "%d/%d", &from, &seen); err != nil {
			return nil, "", fmt.Errorf("cursor: %w", err)
		}
	}
	page, err := findAll[fileDoc](ctx, s, s.media.files(), doc(el("uploadDate", doc(el("$gte", time.UnixMilli(from))))),
		find().SetSort(doc(el("uploadDate", 1), el("_id", 1))).SetSkip(seen).SetLimit(int64(limit)))
	if err != nil {
		return nil, "", err
	}
	out := make([]any, len(page))
	for i := range page {
		out[i] = page[i].info()
		if at := page[i].UploadDate.UnixMilli(); at != from {
			from, seen = at, 0
		}
		seen++
	}
	if len(page) < limit {
		return out, "", nil
	}
	return out, fmt.Sprintf("%d/%d", from, seen), nil
}
