package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/wildcathub/wildcat/core/store"
)

// ResolveAlias implements store.Chats. The common case, forms that are all known to
// belong together, is answered from memory or by a read.
func (s *Store) ResolveAlias(ctx context.Context, account string, forms ...string) (store.Alias, error) {
	var wanted []string
	for _, f := range forms {
		if f != "" && !slices.Contains(wanted, f) {
			wanted = append(wanted, f)
		}
	}
	if len(wanted) == 0 {
		return store.Alias{}, errors.New("resolve alias: no form given")
	}
	if a, ok := s.aliases.get(account, wanted); ok {
		return a, nil
	}
	generation := s.aliases.generation()
	a, known, err := s.knownAlias(ctx, account, wanted)
	if err != nil {
		return store.Alias{}, fmt.Errorf("resolve alias: %w", err)
	}
	if !known {
		err := s.write(ctx, 0, func(t *tx) (err error) {
			a, err = resolve(t, account, wanted)
			return err
		})
		if err != nil {
			return store.Alias{}, fmt.Errorf("resolve alias: %w", err)
		}
		// Cached answers that lack the new form, or name a key that was merged away.
		s.aliases.forget()
		return a, nil
	}
	s.aliases.put(generation, account, a)
	return a, nil
}

// knownAlias reads the answer if nothing has to be written.
func (s *Store) knownAlias(ctx context.Context, account string, wanted []string) (store.Alias, bool, error) {
	accountN, ok := s.names.find(account)
	if !ok {
		return store.Alias{}, false, nil
	}
	var a store.Alias
	err := s.r.each(ctx, `SELECT o.form, o.n = o.root FROM aliases a JOIN aliases o ON o.root = a.root
		WHERE a.account_n = ? AND a.form = ? ORDER BY o.n`, []any{accountN, wanted[0]},
		func(scan func(...any) error) error {
			var form string
			var isKey bool
			if err := scan(&form, &isKey); err != nil {
				return err
			}
			add(&a, form, isKey)
			return nil
		})
	if err != nil {
		return store.Alias{}, false, err
	}
	return a, covers(a, wanted), nil
}

func covers(a store.Alias, wanted []string) bool {
	for _, f := range wanted {
		if f != a.Key && !slices.Contains(a.Others, f) {
			return false
		}
	}
	return a.Key != ""
}

// resolve finds, inserts and merges in the writer's transaction.
func resolve(t *tx, account string, wanted []string) (store.Alias, error) {
	accountN, err := t.names.intern(t, account)
	if err != nil {
		return store.Alias{}, err
	}
	roots := make([]int64, 0, len(wanted))
	var missing []string
	for _, form := range wanted {
		var root int64
		found, err := t.row(`SELECT root FROM aliases WHERE account_n = ? AND form = ?`, []any{accountN, form}, &root)
		switch {
		case err != nil:
			return store.Alias{}, err
		case !found:
			missing = append(missing, form)
		case !slices.Contains(roots, root):
			roots = append(roots, root)
		}
	}
	if len(roots) == 0 {
		var root int64
		// A key's root is its own n, known only after the insert.
		if _, err := t.returning(`INSERT INTO aliases (account_n, form, root) VALUES (?, ?, 0) RETURNING n`,
			[]any{accountN, missing[0]}, &root); err != nil {
			return store.Alias{}, err
		}
		if _, err := t.exec(`UPDATE aliases SET root = n WHERE n = ?`, root); err != nil {
			return store.Alias{}, err
		}
		roots, missing = append(roots, root), missing[1:]
	}
	// n grows, so the lowest root is the key that was stored first.
	slices.Sort(roots)
	winner := roots[0]
	for _, form := range missing {
		if _, err := t.exec(`INSERT INTO aliases (account_n, form, root) VALUES (?, ?, ?)`, accountN, form, winner); err != nil {
			return store.Alias{}, err
		}
	}
	for _, loser := range roots[1:] {
		if err := mergeChats(t, accountN, winner, loser); err != nil {
			return store.Alias{}, err
		}
		if _, err := t.exec(`UPDATE aliases SET root = ? WHERE root = ?`, winner, loser); err != nil {
			return store.Alias{}, err
		}
	}
	var a store.Alias
	err = t.query(`SELECT form, n = root FROM aliases WHERE root = ? ORDER BY n`, []any{winner}, func(row []any) error {
		add(&a, row[0].(string), row[1].(int64) != 0)
		return nil
	})
	return a, err
}

func add(a *store.Alias, form string, isKey bool) {
	if isKey {
		a.Key = form
	} else {
		a.Others = append(a.Others, form)
	}
}

// mergeChats makes the chat of the loser's key hand its successors to the winner's.
func mergeChats(t *tx, accountN, winner, loser int64) error {
	var ns [2]int64
	for i, root := range []int64{winner, loser} {
		// The row is made even if nothing was stored yet: an event that is on its way
		// under the younger key must find the way to the older.
		_, err := t.returning(`INSERT INTO chats (account_n, chat, seq, done, epoch)
			SELECT account_n, form, 0, 0, 0 FROM aliases WHERE n = ?
			ON CONFLICT (account_n, chat) DO UPDATE SET seq = seq RETURNING n`, []any{root}, &ns[i])
		if err != nil {
			return err
		}
	}
	t.forget() // the cached chats
	_, err := t.exec(`UPDATE chats SET merged_into = ?1 WHERE n = ?2 OR (account_n = ?3 AND merged_into = ?2)`, ns[0], ns[1], accountN)
	return err
}

// maxAliases bounds the memory of the cache; beyond it, it starts anew.
const maxAliases = 16384

// aliasCache remembers answers of ResolveAlias: each message asks twice, about the
// same few people.
type aliasCache struct {
	mu  sync.RWMutex
	gen int64
	m   map[aliasKey]store.Alias
}

type aliasKey struct{ account, form string }

func newAliasCache() *aliasCache { return &aliasCache{m: map[aliasKey]store.Alias{}} }

func (c *aliasCache) get(account string, wanted []string) (store.Alias, bool) {
	c.mu.RLock()
	a, ok := c.m[aliasKey{account, wanted[0]}]
	c.mu.RUnlock()
	if !ok || !covers(a, wanted) {
		return store.Alias{}, false
	}
	a.Others = slices.Clone(a.Others) // the caller may do with it what it likes
	return a, true
}

// generation changes with every write; an answer read before one is not kept.
func (c *aliasCache) generation() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.gen
}

func (c *aliasCache) put(generation int64, account string, a store.Alias) {
	a.Others = slices.Clone(a.Others)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != generation {
		return
	}
	if len(c.m) >= maxAliases {
		clear(c.m)
	}
	for _, form := range append([]string{a.Key}, a.Others...) {
		c.m[aliasKey{account, form}] = a
	}
}

func (c *aliasCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	clear(c.m)
}
