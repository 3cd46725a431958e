package sqlite

import (
	"strings"
	"sync"
)

// names interns account and endpoint ids, which would otherwise be repeated in every
// row and index. All of them are in memory: a hub has few accounts and endpoints.
type names struct {
	mu      sync.RWMutex
	byName  map[string]int64
	byN     map[int64]string
	pending map[string]int64 // inserted by the transaction that is running
}

func newNames() *names {
	return &names{byName: map[string]int64{}, byN: map[int64]string{}, pending: map[string]int64{}}
}

func (n *names) load(id int64, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.byName[name], n.byN[id] = id, name
}

// find returns a committed name's number; none means that no record bears it.
func (n *names) find(name string) (int64, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	id, ok := n.byName[name]
	return id, ok
}

// among is a condition that a column holds the number of one of these names, and its arguments.
func (s *Store) among(column string, names []string) (condition string, args []any) {
	for _, name := range names {
		if n, ok := s.names.find(name); ok {
			args = append(args, n)
		}
	}
	return column + ` IN (` + strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ") + `)`, args
}

// name is the way back.
func (n *names) name(id int64) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.byN[id]
}

// intern returns a name's number, inserting it if need be.
func (n *names) intern(t *tx, name string) (int64, error) {
	if id, ok := n.find(name); ok {
		return id, nil
	}
	if id, ok := n.pending[name]; ok {
		return id, nil
	}
	var id int64
	if _, err := t.returning(`INSERT INTO names (name) VALUES (?) RETURNING n`, []any{name}, &id); err != nil {
		return 0, err
	}
	n.pending[name] = id
	// Readers may see the rows before committed runs. A number that a rollback gives
	// free stands here until its next owner overwrites it; no row can refer to it.
	n.mu.Lock()
	n.byN[id] = name
	n.mu.Unlock()
	return id, nil
}

func (n *names) committed() {
	if len(n.pending) == 0 {
		return
	}
	n.mu.Lock()
	for name, id := range n.pending {
		n.byName[name] = id
	}
	n.mu.Unlock()
	clear(n.pending)
}

func (n *names) rolledBack() { clear(n.pending) }
