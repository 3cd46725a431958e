package mongo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/wildcathub/wildcat/core/store"
)

// aliasDoc is one form of a person's or chat's name.
type aliasDoc struct {
	ID      string `bson:"_id"`
	Account string `bson:"account"`
	Form    string `bson:"form"`
	// Root is the form that is the key; a key's root is itself.
	Root string `bson:"root"`
	Pos  string `bson:"pos"`
}

func aliasID(account, form string) string { return account + "/" + form }

// maxResolves bounds how often ResolveAlias begins anew since others write the same
// names; only one process should (the account's owner).
const maxResolves = 20

// ResolveAlias implements store.Chats. The common case, forms that are all known to
// belong together, is answered from memory or by one read.
func (s *Store) ResolveAlias(ctx context.Context, account string, forms ...string) (store.Alias, error) {
	var wanted []string
	for _, f := range forms {
		if f = clean(f); f != "" && !slices.Contains(wanted, f) {
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
	a, err := s.resolve(ctx, account, wanted)
	if err != nil {
		return store.Alias{}, fmt.Errorf("resolve alias: %w", err)
	}
	s.aliases.put(generation, account, a)
	return a, nil
}

func (s *Store) resolve(ctx context.Context, account string, wanted []string) (store.Alias, error) {
	if err := checkAccount(account); err != nil {
		return store.Alias{}, err
	}
	a, err := s.knownAlias(ctx, account, wanted[0])
	if err != nil || covers(a, wanted) {
		return a, err
	}
	// While names are merged no event is numbered.
	s.lanes.write.Lock()
	defer s.lanes.write.Unlock()
	for range maxResolves {
		done, err := s.join(ctx, account, wanted)
		if err != nil {
			return store.Alias{}, err
		}
		if !done {
			continue
		}
		// Cached answers that lack the new form, or name a key that was merged away.
		s.aliases.forget()
		return s.knownAlias(ctx, account, wanted[0])
	}
	return store.Alias{}, fmt.Errorf("others write the same names: %w", store.ErrStale)
}

// knownAlias reads what is known of a form.
func (s *Store) knownAlias(ctx context.Context, account, form string) (store.Alias, error) {
	own, err := findAll[aliasDoc](ctx, s, collAliases, byID(aliasID(account, form)), find())
	if err != nil || len(own) == 0 {
		return store.Alias{}, err
	}
	rows, err := findAll[aliasDoc](ctx, s, collAliases, doc(el("account", account), el("root", own[0].Root)),
		find().SetSort(doc(el("pos", 1))))
	var a store.Alias
	for _, r := range rows {
		if r.Form == r.Root {
			a.Key = r.Form
		} else {
			a.Others = append(a.Others, r.Form)
		}
	}
	return a, err
}

func covers(a store.Alias, wanted []string) bool {
	for _, f := range wanted {
		if f != a.Key && !slices.Contains(a.Others, f) {
			return false
		}
	}
	return a.Key != ""
}

// join makes the forms belong together, one write after the other; whatever is cut
// short is found half done by the next call, and finished. false: others came between.
func (s *Store) join(ctx context.Context, account string, wanted []string) (bool, error) {
	known, roots, err := s.rootsOf(ctx, account, wanted)
	if err != nil {
		return false, err
	}
	if len(roots) == 0 {
		roots = []aliasDoc{{ID: aliasID(account, wanted[0]), Account: account, Form: wanted[0], Root: wanted[0], Pos: s.pos.next()}}
		taken, err := s.insertAll(ctx, collAliases, []any{roots[0]})
		if err != nil || len(taken) > 0 {
			return false, err
		}
		known[wanted[0]] = true
	}
	winner := roots[0].Form
	var docs []any
	for _, f := range wanted {
		if !known[f] {
			docs = append(docs, aliasDoc{ID: aliasID(account, f), Account: account, Form: f, Root: winner, Pos: s.pos.next()})
		}
	}
	if len(docs) > 0 {
		taken, err := s.insertAll(ctx, collAliases, docs)
		if err != nil || len(taken) > 0 {
			return false, err
		}
	}
	for _, loser := range roots[1:] {
		if err := s.mergeChats(ctx, account, winner, loser.Form); err != nil {
			return false, err
		}
		err := s.updateMany(ctx, collAliases, bulkUpdate{
			filter: doc(el("account", account), el("root", loser.Form)), update: doc(set(el("root", winner))),
		})
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// rootsOf returns which of the forms are known, and the keys that they have, the one
// stored first at the front.
func (s *Store) rootsOf(ctx context.Context, account string, wanted []string) (map[string]bool, []aliasDoc, error) {
	read := func(forms []string) ([]aliasDoc, error) {
		ids := make([]string, len(forms))
		for i, f := range forms {
			ids[i] = aliasID(account, f)
		}
		return findAll[aliasDoc](ctx, s, collAliases, doc(el("_id", in(ids))), find())
	}
	rows, err := read(wanted)
	if err != nil || len(rows) == 0 {
		return map[string]bool{}, nil, err
	}
	known := map[string]bool{}
	var names []string
	for _, r := range rows {
		known[r.Form] = true
		s.pos.seen(r.Pos)
		if !slices.Contains(names, r.Root) {
			names = append(names, r.Root)
		}
	}
	roots, err := read(names)
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(roots, func(a, b aliasDoc) int { return cmp.Compare(a.Pos, b.Pos) })
	return known, roots, nil
}

// mergeChats makes the chat of the loser's key hand its successors to the winner's. The
// rows are made even if nothing was stored yet: an event that is on its way under the
// younger key must find the way to the older.
func (s *Store) mergeChats(ctx context.Context, account, winner, loser string) error {
	docs := []any{}
	for _, key := range []string{winner, loser} {
		docs = append(docs, chatDoc{ID: laneOf(account, key), Account: account, Chat: key})
	}
	if _, err := s.insertAll(ctx, collChats, docs); err != nil {
		return err
	}
	s.lanes.forget()
	// Those that were merged into the loser before lead there, and so on to the winner.
	return s.updateMany(ctx, collChats, bulkUpdate{
		filter: byID(laneOf(account, loser)), update: doc(set(el("mergedInto", winner))),
	})
}

// updateMany changes all that a filter selects. It must bear to be repeated.
func (s *Store) updateMany(ctx context.Context, coll string, u bulkUpdate) error {
	return s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(coll).UpdateMany(ctx, u.filter, u.update)
		return err
	})
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
