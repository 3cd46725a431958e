package sqlite

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/wildcathub/wildcat/core/store"
)

// Export implements store.Transfer.
func (s *Store) Export(ctx context.Context, k store.Kind, after string, limit int) ([]any, string, error) {
	records, next, err := s.export(ctx, k, after, limitOr(limit))
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
		return whole(s.exportLeases(ctx))
	case store.KindEvents:
		page, err := s.ListEvents(ctx, "", after, limit)
		return paged(page, limit, err, func(e store.StoredEvent) string { return e.Event.ID })
	case store.KindSends:
		page, err := s.ListSends(ctx, store.SendQuery{After: after, Limit: limit})
		return paged(page, limit, err, func(x store.Send) string { return x.ID })
	case store.KindDeliveries:
		from, err := s.cursor(ctx, `SELECT n FROM deliveries WHERE id = ?`, after)
		if err != nil {
			return nil, "", err
		}
		page, err := s.selectDeliveries(ctx, `WHERE d.n > ? ORDER BY d.n LIMIT ?`, from, limit)
		return paged(page, limit, err, func(d store.Delivery) string { return d.ID })
	case store.KindKV:
		return s.exportKV(ctx, after, limit)
	case store.KindAliases:
		return s.exportAliases(ctx, after)
	}
	return s.exportNumbered(ctx, k, after, limit)
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

// exportNumbered pages by the row's number.
func (s *Store) exportNumbered(ctx context.Context, k store.Kind, after string, limit int) ([]any, string, error) {
	var from int64
	if after != "" {
		var err error
		if from, err = strconv.ParseInt(after, 10, 64); err != nil {
			return nil, "", fmt.Errorf("cursor: %w", err)
		}
	}
	var query string
	var row func(scan func(...any) error) (any, int64, error)
	switch k {
	case store.KindChats:
		query = `SELECT c.n, c.account_n, c.chat, c.seq, c.epoch, coalesce(m.chat, '') FROM chats c
			LEFT JOIN chats m ON m.n = c.merged_into WHERE c.n > ? ORDER BY c.n LIMIT ?`
		row = s.chatRecord
	case store.KindMessages:
		query = `SELECT m.n, e.id, m.account_n, c.chat, m.wa_id, m.time, m.updated_at, m.body FROM messages m
			JOIN events e ON e.n = m.n JOIN chats c ON c.n = m.chat_n WHERE m.n > ? ORDER BY m.n LIMIT ?`
		row = s.messageRecord
	case store.KindBlobs:
		query = selectBlob + `WHERE id IS NOT NULL AND internal = 0 AND n > ? ORDER BY n LIMIT ?`
		row = func(scan func(...any) error) (any, int64, error) {
			info, n, err := s.scanBlob(scan)
			return info, n, err
		}
	default:
		return nil, "", fmt.Errorf("%q is no kind", string(k))
	}
	var out []any
	var last int64
	err := s.r.each(ctx, query, []any{from, limit}, func(scan func(...any) error) error {
		x, n, err := row(scan)
		out, last = append(out, x), n
		return err
	})
	if err != nil || len(out) < limit {
		return out, "", err
	}
	return out, strconv.FormatInt(last, 10), nil
}

func (s *Store) chatRecord(scan func(...any) error) (any, int64, error) {
	var c store.ChatRecord
	var n, accountN int64
	err := scan(&n, &accountN, &c.Chat, &c.Seq, &c.Epoch, &c.MergedInto)
	c.Account = s.names.name(accountN)
	return c, n, err
}

func (s *Store) messageRecord(scan func(...any) error) (any, int64, error) {
	var m store.MessageRecord
	var n, accountN int64
	var event dbID
	var at, updated dbTime
	err := scan(&n, &event, &accountN, &m.Chat, &m.WAID, &at, &updated, &m.Body)
	m.EventID, m.Account, m.Time, m.UpdatedAt = string(event), s.names.name(accountN), at.Time, updated.Time
	return m, n, err
}

// exportAliases returns the aliases of one account, which keeps their order within it.
func (s *Store) exportAliases(ctx context.Context, after string) ([]any, string, error) {
	var accountN int64
	var account string
	if after != "" {
		after += "/"
	}
	// In the order of what the accounts' aliases begin with on the other engine.
	err := s.r.row(ctx, `SELECT n, name FROM names WHERE name || '/' > ? AND EXISTS (SELECT 1 FROM aliases WHERE account_n = names.n)
		ORDER BY name || '/' LIMIT 1`, []any{after}, &accountN, &account)
	if noRows(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	var out []any
	err = s.r.each(ctx, `SELECT a.form, r.form FROM aliases a JOIN aliases r ON r.n = a.root WHERE a.account_n = ? ORDER BY a.n`,
		[]any{accountN}, func(scan func(...any) error) error {
			a := store.AliasRecord{Account: account}
			err := scan(&a.Form, &a.Key)
			out = append(out, a)
			return err
		})
	return out, account, err
}

func (s *Store) exportKV(ctx context.Context, after string, limit int) ([]any, string, error) {
	query, args := `SELECT namespace, key, value, coalesce(expires, 0) FROM kv WHERE (expires IS NULL OR expires > ?)
		ORDER BY namespace, key LIMIT ?`, []any{ms(s.now()), limit}
	if after != "" {
		a, b, _ := strings.Cut(after, "/")
		namespace, err := hex.DecodeString(a)
		if err != nil {
			return nil, "", fmt.Errorf("cursor: %w", err)
		}
		key, err := hex.DecodeString(b)
		if err != nil {
			return nil, "", fmt.Errorf("cursor: %w", err)
		}
		query = `SELECT namespace, key, value, coalesce(expires, 0) FROM kv WHERE (expires IS NULL OR expires > ?)
			AND (namespace, key) > (?, ?) ORDER BY namespace, key LIMIT ?`
		args = []any{ms(s.now()), string(namespace), string(key), limit}
	}
	var page []store.KVRecord
	err := s.r.each(ctx, query, args, func(scan func(...any) error) error {
		var r store.KVRecord
		var expires dbTime
		err := scan(&r.Namespace, &r.Key, &r.Value, &expires)
		r.Expires = expires.Time
		page = append(page, r)
		return err
	})
	return paged(page, limit, err, func(r store.KVRecord) string {
		return hex.EncodeToString([]byte(r.Namespace)) + "/" + hex.EncodeToString([]byte(r.Key))
	})
}

func (s *Store) exportLeases(ctx context.Context) ([]store.Lease, error) {
	var out []store.Lease
	err := s.r.each(ctx, `SELECT name, epoch FROM leases ORDER BY name`, nil, func(scan func(...any) error) error {
		var l store.Lease
		err := scan(&l.Name, &l.Epoch)
		out = append(out, l)
		return err
	})
	return out, err
}
