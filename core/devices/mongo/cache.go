package mongo

import (
	"container/list"
	"sync"
)

// cacheBytes bounds what a device remembers: some 500 sessions.
const cacheBytes = 1 << 20

// cache remembers documents, and that there is none, as the only one who writes them.
type cache struct {
	mu     sync.Mutex
	limit  int
	used   int
	writes uint64 // counts the changes, so that a read that was overtaken is not kept
	byID   map[string]*list.Element
	recent *list.List // of *entry, the latest first
}

type entry struct {
	id   string
	rec  *record // nil: there is none
	size int
}

func newCache(limit int) *cache {
	return &cache{limit: limit, byID: map[string]*list.Element{}, recent: list.New()}
}

// get returns what is remembered; known is false if that is nothing. mark is for fill.
func (c *cache) get(id string) (rec *record, known bool, mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[id]
	if !ok {
		return nil, false, c.writes
	}
	c.recent.MoveToFront(e)
	return e.Value.(*entry).rec, true, c.writes
}

// fill remembers what was read, unless something was written since mark.
func (c *cache) fill(id string, rec *record, mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writes == mark {
		c.put(id, rec)
	}
}

// written remembers what was written; nil for what was deleted.
func (c *cache) written(id string, rec *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	c.put(id, rec)
}

// drop forgets what may have been written.
func (c *cache) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	if e, ok := c.byID[id]; ok {
		c.remove(e)
	}
}

func (c *cache) put(id string, rec *record) {
	if e, ok := c.byID[id]; ok {
		c.remove(e)
	}
	x := &entry{id: id, rec: rec, size: 2*len(id) + 200}
	if rec != nil {
		x.size += rec.size()
	}
	c.byID[id] = c.recent.PushFront(x)
	c.used += x.size
	for c.used > c.limit && c.recent.Len() > 1 {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	x := c.recent.Remove(e).(*entry)
	delete(c.byID, x.id)
	c.used -= x.size
}
