package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

const (
	// maxLIDs bounds the users that are remembered, in each direction.
	maxLIDs = 1 << 16
	// keepKnown and keepUnknown are how long a mapping, and that there is none, is
	// believed: another hub may learn of it and store it.
	keepKnown   = time.Hour
	keepUnknown = time.Minute
)

// lidMap is the map of phone numbers and LIDs of all accounts and hubs.
type lidMap struct {
	c *Container

	mu    sync.Mutex
	ofPN  map[string]known
	ofLID map[string]known
}

type known struct {
	user  string // "": there is none
	until time.Time
}

type lidDoc struct {
	LID string `bson:"_id"`
	PN  string `bson:"pn"`
}

var _ store.LIDStore = (*lidMap)(nil)

func newLIDMap(c *Container) *lidMap {
	m := &lidMap{c: c}
	m.forget()
	return m
}

func (m *lidMap) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ofPN, m.ofLID = map[string]known{}, map[string]known{}
}

// learn remembers a mapping, or with one side "" that the other has none.
func (m *lidMap) learn(lid, pn string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.c.now()
	if was := m.ofPN[pn].user; lid != "" && was != lid { // the number changed hands
		delete(m.ofLID, was)
	}
	if was := m.ofLID[lid].user; pn != "" && was != pn {
		delete(m.ofPN, was)
	}
	for _, x := range []struct {
		in       map[string]known
		key, val string
	}{{m.ofPN, pn, lid}, {m.ofLID, lid, pn}} {
		if x.key == "" {
			continue
		}
		if len(x.in) >= maxLIDs {
			for k := range x.in { // any one
				delete(x.in, k)
				break
			}
		}
		keep := keepKnown
		if x.val == "" {
			keep = keepUnknown
		}
		x.in[x.key] = known{x.val, now.Add(keep)}
	}
}

func (m *lidMap) recall(lid, pn string) (user string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.ofPN[pn]
	if pn == "" {
		k = m.ofLID[lid]
	}
	return k.user, k.until.After(m.c.now())
}

// pending looks a mapping up among those of the unit that ctx carries.
func pending(ctx context.Context, lid, pn string) string {
	u, _ := ctx.Value(anyUnitKey{}).(*unit)
	if u == nil {
		return ""
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, x := range slices.Backward(u.lids) {
		if pn != "" && x.PN.User == pn {
			return x.LID.User
		}
		if lid != "" && x.LID.User == lid {
			return x.PN.User
		}
	}
	return ""
}

// GetLIDForPN implements store.LIDStore.
func (m *lidMap) GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error) {
	if pn.Server != types.DefaultUserServer {
		return types.EmptyJID, fmt.Errorf("no phone number: %s", pn)
	}
	user, err := m.lookup(ctx, "", pn.User)
	if err != nil || user == "" {
		return types.EmptyJID, err
	}
	return types.JID{User: user, Device: pn.Device, Server: types.HiddenUserServer}, nil
}

// GetPNForLID implements store.LIDStore.
func (m *lidMap) GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error) {
	if lid.Server != types.HiddenUserServer {
		return types.EmptyJID, fmt.Errorf("no LID: %s", lid)
	}
	user, err := m.lookup(ctx, lid.User, "")
	if err != nil || user == "" {
		return types.EmptyJID, err
	}
	return types.JID{User: user, Device: lid.Device, Server: types.DefaultUserServer}, nil
}

// lookup finds the other side of a LID or of a phone number, "" if there is none.
func (m *lidMap) lookup(ctx context.Context, lid, pn string) (string, error) {
	if user := pending(ctx, lid, pn); user != "" {
		return user, nil
	}
	if user, ok := m.recall(lid, pn); ok {
		return user, nil
	}
	filter := bson.D{{Key: "pn", Value: pn}}
	if pn == "" {
		filter = bson.D{{Key: "_id", Value: lid}}
	}
	found, err := find[lidDoc](ctx, m.c.coll(collLIDs), filter, nil)
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		m.learn(lid, pn)
		return "", nil
	}
	m.learn(found[0].LID, found[0].PN)
	if pn == "" {
		return found[0].PN, nil
	}
	return found[0].LID, nil
}

// both returns the user as asked for, and by the other kind of address if that is known.
func (m *lidMap) both(ctx context.Context, user types.JID) (out []types.JID, err error) {
	var other types.JID
	switch user.Server {
	case types.DefaultUserServer:
		other, err = m.GetLIDForPN(ctx, user)
	case types.HiddenUserServer:
		other, err = m.GetPNForLID(ctx, user)
	}
	if err != nil {
		return nil, err
	}
	if other.IsEmpty() {
		return []types.JID{user}, nil
	}
	return []types.JID{user, other}, nil
}

// GetManyLIDsForPNs implements store.LIDStore: those that are known.
func (m *lidMap) GetManyLIDsForPNs(ctx context.Context, pns []types.JID) (map[types.JID]types.JID, error) {
	if len(pns) == 0 {
		return nil, nil
	}
	users, missing := map[string]string{}, []string(nil)
	for _, pn := range pns {
		if pn.Server != types.DefaultUserServer {
			continue
		}
		if user := pending(ctx, "", pn.User); user != "" {
			users[pn.User] = user
		} else if user, ok := m.recall("", pn.User); ok {
			users[pn.User] = user
		} else if _, asked := users[pn.User]; !asked {
			users[pn.User] = ""
			missing = append(missing, pn.User)
		}
	}
	for part := range slices.Chunk(missing, maxBulk) {
		found, err := find[lidDoc](ctx, m.c.coll(collLIDs), bson.D{{Key: "pn", Value: bson.D{{Key: "$in", Value: part}}}}, nil)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			users[f.PN] = f.LID
		}
		for _, pn := range part {
			m.learn(users[pn], pn)
		}
	}
	out := make(map[types.JID]types.JID, len(pns))
	for _, pn := range pns {
		if user := users[pn.User]; user != "" && pn.Server == types.DefaultUserServer {
			out[pn] = types.JID{User: user, Device: pn.Device, Server: types.HiddenUserServer}
		}
	}
	return out, nil
}

// PutLIDMapping implements store.LIDStore.
func (m *lidMap) PutLIDMapping(ctx context.Context, lid, pn types.JID) error {
	if lid.Server != types.HiddenUserServer || pn.Server != types.DefaultUserServer {
		return fmt.Errorf("no mapping of a LID to a phone number: %s, %s", lid, pn)
	}
	return m.PutManyLIDMappings(ctx, []store.LIDMapping{{LID: lid, PN: pn}})
}

// PutManyLIDMappings implements store.LIDStore. What is no mapping is left out, and of
// several for one phone number the last counts.
func (m *lidMap) PutManyLIDMappings(ctx context.Context, mappings []store.LIDMapping) error {
	var fresh []store.LIDMapping
	for _, x := range mappings {
		if x.LID.Server != types.HiddenUserServer || x.PN.Server != types.DefaultUserServer {
			continue
		}
		if user, ok := m.recall("", x.PN.User); !ok || user != x.LID.User {
			fresh = append(fresh, x)
		}
	}
	if u, _ := ctx.Value(anyUnitKey{}).(*unit); u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.lids = append(u.lids, fresh...)
		return nil
	}
	return m.putMany(ctx, fresh)
}

// putMany stores mappings. A number that another LID has is taken from that one first.
func (m *lidMap) putMany(ctx context.Context, mappings []store.LIDMapping) error {
	byPN, ofLID := map[string]string{}, map[string]string{}
	for _, x := range mappings {
		delete(byPN, ofLID[x.LID.User]) // a LID has one number, too
		delete(ofLID, byPN[x.PN.User])
		byPN[x.PN.User], ofLID[x.LID.User] = x.LID.User, x.PN.User
	}
	docs := make([]lidDoc, 0, len(byPN))
	for pn, lid := range byPN {
		docs = append(docs, lidDoc{LID: lid, PN: pn})
	}
	for part := range slices.Chunk(docs, maxBulk) {
		if err := m.putDocs(ctx, part); err != nil {
			return fmt.Errorf("store LIDs: %w", err)
		}
		for _, d := range part {
			m.learn(d.LID, d.PN)
		}
	}
	return nil
}

func (m *lidMap) putDocs(ctx context.Context, docs []lidDoc) error {
	coll := m.c.coll(collLIDs)
	for try := 0; len(docs) > 0; try++ {
		models := make([]mongo.WriteModel, len(docs))
		for i, d := range docs {
			models[i] = mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: d.LID}}).SetReplacement(d).SetUpsert(true)
		}
		var taken []lidDoc
		err := do(ctx, func(ctx context.Context) error {
			_, err := coll.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
			taken, err = duplicates(docs, err)
			return err
		})
		if err != nil || len(taken) == 0 {
			return err
		}
		if try == maxTries {
			return fmt.Errorf("%d phone numbers change hands too often", len(taken))
		}
		for _, d := range taken {
			err := do(ctx, func(ctx context.Context) error {
				_, err := coll.DeleteMany(ctx, bson.D{{Key: "pn", Value: d.PN}, {Key: "_id", Value: bson.D{{Key: "$ne", Value: d.LID}}}})
				return err
			})
			if err != nil {
				return err
			}
		}
		docs = taken
	}
	return nil
}

// duplicates returns the documents whose writes ran into a duplicate key; any other
// failure is returned as it is.
func duplicates(docs []lidDoc, err error) ([]lidDoc, error) {
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return nil, err
	}
	var out []lidDoc
	for _, e := range bulk.WriteErrors {
		if !mongo.IsDuplicateKeyError(e.WriteError) {
			return nil, err
		}
		out = append(out, docs[e.Index])
	}
	return out, nil
}
