package sqlite

import (
	"context"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

const accountColumns = `id, name, collection, jid, lid, state, reason, connect, greeted, created_at, updated_at, version`

func scanAccount(scan func(...any) error) (a store.Account, version int64, err error) {
	var created, updated dbTime
	var connect, greeted int64
	err = scan(&a.ID, &a.Name, &a.Collection, &a.JID, &a.LID, &a.State, &a.Reason,
		&connect, &greeted, &created, &updated, &version)
	a.Connect, a.Greeted = connect != 0, greeted != 0
	a.CreatedAt, a.UpdatedAt = created.Time, updated.Time
	return a, version, err
}

// CreateAccount implements store.Accounts.
func (s *Store) CreateAccount(ctx context.Context, a store.Account) error {
	if a.CreatedAt.IsZero() {
		a.CreatedAt = s.now()
	}
	if a.UpdatedAt.IsZero() {
		a.UpdatedAt = a.CreatedAt
	}
	err := s.write(ctx, 0, func(t *tx) error {
		_, err := t.exec(`INSERT INTO accounts (`+accountColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
			a.ID, a.Name, a.Collection, a.JID, a.LID, a.State, a.Reason, a.Connect, a.Greeted, ms(a.CreatedAt), ms(a.UpdatedAt))
		if isUnique(err) {
			return store.ErrExists
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("create account %s: %w", a.ID, err)
	}
	return nil
}

func (s *Store) account(ctx context.Context, id string) (a store.Account, version int64, err error) {
	a, version, err = scanAccount(func(dest ...any) error {
		return s.r.row(ctx, `SELECT `+accountColumns+` FROM accounts WHERE id = ?`, []any{id}, dest...)
	})
	if noRows(err) {
		err = store.ErrNotFound
	}
	return a, version, err
}

// Account implements store.Accounts.
func (s *Store) Account(ctx context.Context, id string) (store.Account, error) {
	a, _, err := s.account(ctx, id)
	if err != nil {
		return store.Account{}, fmt.Errorf("account %s: %w", id, err)
	}
	return a, nil
}

// ListAccounts implements store.Accounts.
func (s *Store) ListAccounts(ctx context.Context) ([]store.Account, error) {
	var out []store.Account
	err := s.r.each(ctx, `SELECT `+accountColumns+` FROM accounts ORDER BY id`, nil, func(scan func(...any) error) error {
		a, _, err := scanAccount(scan)
		out = append(out, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return out, nil
}

// UpdateAccount implements store.Accounts. change runs on the caller's goroutine, not
// in the writer's transaction, and again if another update came between.
func (s *Store) UpdateAccount(ctx context.Context, id string, change func(*store.Account)) (store.Account, error) {
	for {
		a, version, err := s.account(ctx, id)
		if err != nil {
			return store.Account{}, fmt.Errorf("update account %s: %w", id, err)
		}
		before := a.UpdatedAt
		change(&a)
		a.ID = id
		if a.UpdatedAt.Equal(before) {
			a.UpdatedAt = fromMS(ms(s.now()))
		}
		var n int64
		err = s.write(ctx, 0, func(t *tx) (err error) {
			n, err = t.exec(`UPDATE accounts SET name = ?, collection = ?, jid = ?, lid = ?, state = ?, reason = ?,
				connect = ?, greeted = ?, created_at = ?, updated_at = ?, version = version + 1 WHERE id = ? AND version = ?`,
				a.Name, a.Collection, a.JID, a.LID, a.State, a.Reason, a.Connect, a.Greeted,
				ms(a.CreatedAt), ms(a.UpdatedAt), id, version)
			return err
		})
		if err != nil {
			return store.Account{}, fmt.Errorf("update account %s: %w", id, err)
		}
		if n == 1 {
			a.CreatedAt, a.UpdatedAt = fromMS(ms(a.CreatedAt)), fromMS(ms(a.UpdatedAt))
			return a, nil
		}
	}
}

// deletePiece is how many rows DeleteAccount removes in one write, so that others get
// their turn.
const deletePiece = 200

// DeleteAccount implements store.Accounts.
func (s *Store) DeleteAccount(ctx context.Context, id string) error {
	if _, _, err := s.account(ctx, id); err != nil {
		return fmt.Errorf("delete account %s: %w", id, err)
	}
	pieces := []func(*tx, int64) (bool, error){deleteEvents, deleteSends, deleteBlobs}
	if accountN, ok := s.names.find(id); ok {
		for _, piece := range pieces {
			for more := true; more; {
				err := s.write(ctx, 0, func(t *tx) (err error) {
					more, err = piece(t, accountN)
					return err
				})
				if err != nil {
					return fmt.Errorf("delete account %s: %w", id, err)
				}
			}
		}
	}
	err := s.write(ctx, 0, func(t *tx) error {
		if accountN, ok := s.names.find(id); ok {
			// What came in while the pieces were removed: few, but no row may be left
			// without its chat.
			for _, piece := range pieces {
				for more := true; more; {
					var err error
					if more, err = piece(t, accountN); err != nil {
						return err
					}
				}
			}
			for _, q := range []string{
				`DELETE FROM chats WHERE account_n = ?`,
				`DELETE FROM aliases WHERE account_n = ?`,
			} {
				if _, err := t.exec(q, accountN); err != nil {
					return err
				}
			}
		}
		t.forget()
		_, err := t.exec(`DELETE FROM accounts WHERE id = ?`, id)
		return err
	})
	s.aliases.forget()
	if err != nil {
		return fmt.Errorf("delete account %s: %w", id, err)
	}
	return nil
}

// rowNumbers returns the n of some of an account's rows.
func rowNumbers(t *tx, query string, accountN, limit int64) (out []int64, err error) {
	err = t.query(query, []any{accountN, limit}, func(row []any) error {
		out = append(out, row[0].(int64))
		return nil
	})
	return out, err
}

func deleteEvents(t *tx, accountN int64) (more bool, err error) {
	ns, err := rowNumbers(t, `SELECT n FROM events WHERE account_n = ? LIMIT ?`, accountN, deletePiece)
	if err != nil {
		return false, err
	}
	for _, n := range ns {
		for _, q := range []string{
			`DELETE FROM deliveries WHERE event_n = ?`,
			`DELETE FROM messages WHERE n = ?`,
			`DELETE FROM events WHERE n = ?`,
		} {
			if _, err := t.exec(q, n); err != nil {
				return false, err
			}
		}
	}
	t.forget()
	return len(ns) == deletePiece, nil
}

func deleteSends(t *tx, accountN int64) (more bool, err error) {
	n, err := t.exec(`DELETE FROM sends WHERE n IN (SELECT n FROM sends WHERE account_n = ? LIMIT ?)`, accountN, deletePiece)
	return n == deletePiece, err
}

func deleteBlobs(t *tx, accountN int64) (more bool, err error) {
	// One at a time, since it may be large. Unfinished ones too: whoever is uploading
	// then gets an error at the next piece.
	ns, err := rowNumbers(t, `SELECT n FROM blobs WHERE account_n = ? LIMIT ?`, accountN, 1)
	if err != nil {
		return false, err
	}
	for _, n := range ns {
		if err := removeBlob(t, n); err != nil {
			return false, err
		}
	}
	return len(ns) > 0, nil
}
