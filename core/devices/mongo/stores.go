package mongo

import (
	"sync"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// Stores is one device's keys: all of whatsmeow's stores but the map of LIDs. What it
// remembers holds for as long as it is the only one that writes them, and no call has
// failed.
type Stores struct {
	c     *Container
	coll  *mongo.Collection
	jid   string
	fence fence
	cache *cache

	// writing is held by the one command that changes keys; changing by who reads a
	// document in order to change it, and taken first; preKeys by who makes prekeys.
	writing, changing, preKeys sem

	mu       sync.Mutex
	migrated map[string]bool
	states   map[string]*state
}

var _ store.AllSessionSpecificStores = (*Stores)(nil)

func (c *Container) stores(jid types.JID, coll string, f fence) *Stores {
	return &Stores{
		c: c, coll: c.coll(coll), jid: jid.String(), fence: f, cache: newCache(cacheBytes),
		writing: newSem(), changing: newSem(), preKeys: newSem(),
		migrated: map[string]bool{}, states: map[string]*state{},
	}
}
