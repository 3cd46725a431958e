package mongo

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/devices/rows"
	"go.mau.fi/whatsmeow/types"
)

// Export calls each for a table's rows of a device. It does not touch the fence.
func (c *Container) Export(ctx context.Context, jid string, t rows.Table, each func(rows.Row) error) error {
	if t.Name == rows.LIDs {
		return scanAll(ctx, c.coll(collLIDs), bson.D{}, func(d lidDoc) error { return each(rows.Row{d.LID, d.PN}) })
	}
	id, err := types.ParseJID(jid)
	if err != nil {
		return err
	}
	p, err := c.place(ctx, id)
	if err != nil || p == nil {
		return err
	}
	coll := c.coll(p.Collection)
	if t.Name == rows.Device {
		return scanAll(ctx, coll, bson.D{{Key: "_id", Value: deviceID(jid)}}, func(d deviceDoc) error { return each(d.row(jid)) })
	}
	versions := map[string]int64{} // of the states, where they are needed
	if t.Name == rows.MACs {
		err := scanAll(ctx, coll, bson.D{{Key: "_id", Value: within(path(jid, "state"), '/')}}, func(r record) error {
			if parts := split(r.ID); len(parts) == 3 && !r.Gone {
				versions[parts[2]] = r.Number
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// By ascending versions, so that of each MAC the last is the one that counts.
	var mac rows.Row
	var macIs string
	flush := func() error {
		if mac == nil || mac.Bytes(4) == nil {
			return nil
		}
		return each(mac)
	}
	err = scanAll(ctx, coll, bson.D{{Key: "_id", Value: within(path(jid, kindOf(t.Name)), '/')}}, func(r record) error {
		if r.Gone || r.Expires != nil && !r.Expires.After(c.now()) {
			return nil
		}
		row, err := rowOf(t.Name, &r)
		if err != nil || row == nil {
			return err
		}
		if t.Name != rows.MACs {
			return each(row)
		}
		if version, ok := versions[row.Str(1)]; !ok || row.Int(2) > version {
			return nil // of a version that was never stored
		}
		if is := row.Str(1) + "/" + string(row.Bytes(3)); is != macIs {
			if err := flush(); err != nil {
				return err
			}
			macIs = is
		}
		mac = row
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// pieceOf is how many documents are read at once.
const pieceOf = 500

// scanAll reads documents in the order of their ids.
func scanAll[T any](ctx context.Context, coll *mongo.Collection, filter bson.D, each func(T) error) error {
	cur, err := coll.Find(ctx, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(pieceOf))
	if err != nil {
		return fmt.Errorf("find in %s: %w", coll.Name(), err)
	}
	defer func() { _ = cur.Close(context.WithoutCancel(ctx)) }()
	for cur.Next(ctx) {
		var x T
		if err := cur.Decode(&x); err != nil {
			return fmt.Errorf("decode in %s: %w", coll.Name(), err)
		}
		if err := each(x); err != nil {
			return err
		}
	}
	return cur.Err()
}

// kindOf is the part of the id that a table's documents have.
func kindOf(table string) string {
	switch table {
	case rows.Identities, rows.Sessions, rows.SenderKeys:
		return "peer"
	case rows.PreKeys:
		return "prekey"
	case rows.SyncKeys:
		return "sync"
	case rows.States:
		return "state"
	case rows.MACs:
		return "mac"
	case rows.Contacts:
		return "contact"
	case rows.Chats:
		return "chat"
	case rows.Secrets:
		return "secret"
	case rows.Tokens:
		return "token"
	}
	return "event"
}

// split is the way back from path; nil if it is none.
func split(id string) []string {
	parts := strings.Split(id, "/")
	for i, p := range parts {
		var err error
		if parts[i], err = unescape(p); err != nil {
			return nil
		}
	}
	return parts
}

func (d *deviceDoc) row(jid string) rows.Row {
	return rows.Row{
		jid, d.LID, d.Facebook, int64(d.Registration), d.Noise, d.Identity, d.SignedKey, int64(d.SignedKeyID), d.SignedKeySig,
		d.ADVSecret, d.ADVDetails, d.ADVAccount, d.ADVKey, d.ADVDevice, d.Platform, d.BusinessName, d.PushName, d.Migrated,
	}
}

// rowOf is a document as a row; nil if it is of another table.
func rowOf(table string, r *record) (rows.Row, error) {
	p := split(r.ID)
	lengths := map[string]int{
		rows.Identities: 4, rows.Sessions: 4, rows.SenderKeys: 5, rows.PreKeys: 3, rows.SyncKeys: 3, rows.States: 3,
		rows.MACs: 5, rows.Contacts: 3, rows.Chats: 3, rows.Secrets: 5, rows.Tokens: 3, rows.Events: 3,
	}
	if len(p) != lengths[table] {
		return nil, nil
	}
	bad := func(err error) (rows.Row, error) { return nil, fmt.Errorf("key %q: %w", r.ID, err) }
	switch table {
	case rows.Identities, rows.Sessions:
		if p[3] != map[string]string{rows.Identities: "identity", rows.Sessions: "session"}[table] {
			return nil, nil
		}
		return rows.Row{p[0], p[2], some(r.Value)}, nil
	case rows.SenderKeys:
		return rows.Row{p[0], p[4], p[2], some(r.Value)}, nil
	case rows.PreKeys:
		n, err := strconv.ParseInt(p[2], 10, 64)
		if err != nil {
			return bad(err)
		}
		return rows.Row{p[0], n, some(r.Value), r.Number != 0}, nil
	case rows.SyncKeys:
		id, err := hex.DecodeString(p[2])
		if err != nil {
			return bad(err)
		}
		return rows.Row{p[0], some(id), some(r.Value), r.Number, some(r.Print)}, nil
	case rows.States:
		return rows.Row{p[0], p[2], r.Number, some(r.Value)}, nil
	case rows.MACs:
		index, err := hex.DecodeString(p[3])
		if err != nil {
			return bad(err)
		}
		version, err := strconv.ParseInt(p[4], 16, 64)
		if err != nil {
			return bad(err)
		}
		return rows.Row{p[0], p[2], version, some(index), some(r.Value)}, nil
	case rows.Contacts:
		return rows.Row{p[0], p[2], r.First, r.Full, r.Push, r.Business, r.Redacted}, nil
	case rows.Chats:
		return rows.Row{p[0], p[2], r.Muted, r.Pinned, r.Archived}, nil
	case rows.Secrets:
		return rows.Row{p[0], p[2], p[3], p[4], some(r.Value)}, nil
	case rows.Tokens:
		return rows.Row{p[0], p[2], some(r.Value), r.Number}, nil
	}
	hash, err := hex.DecodeString(p[2])
	if err != nil {
		return bad(err)
	}
	return rows.Row{p[0], some(hash), some(r.Value), r.Number, r.At}, nil
}

// some makes no bytes nil.
func some(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// Import writes rows under the epoch 0, which every lease is above. Nothing else may use
// the device meanwhile.
func (c *Container) Import(ctx context.Context, jid string, o Owner, t rows.Table, page []rows.Row) error {
	if t.Name == rows.LIDs {
		docs := make([]lidDoc, len(page))
		for i, r := range page {
			docs[i] = lidDoc{LID: r.Str(0), PN: r.Str(1)}
		}
		for part := range slices.Chunk(docs, maxBulk) {
			if err := c.lids.putDocs(ctx, part); err != nil {
				return err
			}
		}
		c.lids.forget()
		return nil
	}
	id, err := types.ParseJID(jid)
	if err != nil {
		return err
	}
	coll := collectionOf(o)
	if t.Name == rows.Device {
		if err := c.settle(ctx, id, coll, o); err != nil {
			return err
		}
	}
	s := &Stores{jid: jid}
	stamp := c.stamp(0)
	var models []mongo.WriteModel
	counter := int64(0)
	for _, r := range page {
		if t.Name == rows.Device {
			d := deviceOf(r)
			d.Stamp = stamp
			models = append(models, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}}).SetReplacement(d).SetUpsert(true))
			continue
		}
		rec := s.recordOf(t.Name, r)
		rec.Stamp = stamp
		models = append(models, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: rec.ID}}).SetReplacement(rec).SetUpsert(true))
		if t.Name == rows.PreKeys {
			counter = max(counter, r.Int(1))
		}
	}
	is := bson.E{Key: "_id", Value: path(jid, "counter")} // the last prekey id given out
	switch {
	case t.Name == rows.Device: // with the zero written out, so that it can be compared
		zero := bson.D{is, {Key: "s", Value: stamp}, {Key: "v", Value: nil}, {Key: "n", Value: int64(0)}}
		models = append(models, mongo.NewReplaceOneModel().SetFilter(bson.D{is}).SetReplacement(zero).SetUpsert(true))
	case counter > 0:
		models = append(models, mongo.NewUpdateOneModel().SetFilter(bson.D{is, {Key: "n", Value: bson.D{{Key: "$lt", Value: counter}}}}).
			SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: counter}}}}))
	}
	for part := range slices.Chunk(models, maxBulk) {
		err := do(ctx, func(ctx context.Context) error {
			_, err := c.coll(coll).BulkWrite(ctx, part, options.BulkWrite().SetOrdered(true))
			return err
		})
		if err != nil {
			return fmt.Errorf("write keys of %s: %w", jid, err)
		}
	}
	return nil
}

// settle notes where a device's keys are going to be, and opens its fence to every lease.
func (c *Container) settle(ctx context.Context, jid types.JID, coll string, o Owner) error {
	if err := c.ensureIndex(ctx, coll); err != nil {
		return err
	}
	p, f := place{ID: jid.String(), Collection: coll, Account: o.Account}, fence{ID: fenceID(jid.String())}
	err := do(ctx, func(ctx context.Context) error {
		_, err := c.coll(collDevices).ReplaceOne(ctx, bson.D{{Key: "_id", Value: p.ID}}, p, options.Replace().SetUpsert(true))
		if err == nil {
			_, err = c.coll(coll).ReplaceOne(ctx, bson.D{{Key: "_id", Value: f.ID}}, f, options.Replace().SetUpsert(true))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("place device %s: %w", jid, err)
	}
	return nil
}

func deviceOf(r rows.Row) deviceDoc {
	return deviceDoc{
		ID: deviceID(r.Str(0)), LID: r.Str(1), Facebook: r.Str(2), Registration: uint32(r.Int(3)), //nolint:gosec // a column's check says so
		Noise: r.Bytes(4), Identity: r.Bytes(5), SignedKey: r.Bytes(6), SignedKeyID: uint32(r.Int(7)), SignedKeySig: r.Bytes(8), //nolint:gosec // see above
		ADVSecret: r.Bytes(9), ADVDetails: r.Bytes(10), ADVAccount: r.Bytes(11), ADVKey: r.Bytes(12), ADVDevice: r.Bytes(13),
		Platform: r.Str(14), BusinessName: r.Str(15), PushName: r.Str(16), Migrated: r.Int(17),
	}
}

// recordOf is the way back from rowOf.
func (s *Stores) recordOf(table string, r rows.Row) record {
	switch table {
	case rows.Identities:
		return record{ID: s.identityID(r.Str(1)), Value: r.Bytes(2)}
	case rows.Sessions:
		return record{ID: s.sessionID(r.Str(1)), Value: r.Bytes(2)}
	case rows.SenderKeys:
		return record{ID: s.groupID(r.Str(1), r.Str(2)), Value: r.Bytes(3)}
	case rows.PreKeys:
		rec := record{ID: s.preKeyID(uint32(r.Int(1))), Value: r.Bytes(2)} //nolint:gosec // a column's check says so
		if r.Bool(3) {
			rec.Number = 1
		}
		return rec
	case rows.SyncKeys:
		return record{ID: s.syncID(r.Bytes(1)), Value: r.Bytes(2), Number: r.Int(3), Print: r.Bytes(4)}
	case rows.States:
		return record{ID: s.stateID(r.Str(1)), Number: r.Int(2), Value: r.Bytes(3)}
	case rows.MACs:
		return record{ID: s.macID(r.Str(1), r.Bytes(3), uint64(r.Int(2))), Value: r.Bytes(4)} //nolint:gosec // versions are small
	case rows.Contacts:
		return record{
			ID: path(s.jid, "contact", r.Str(1)), Value: []byte{}, First: r.Str(2), Full: r.Str(3), Push: r.Str(4), Business: r.Str(5), Redacted: r.Str(6),
		}
	case rows.Chats:
		return record{ID: path(s.jid, "chat", r.Str(1)), Value: []byte{}, Muted: r.Int(2), Pinned: r.Bool(3), Archived: r.Bool(4)}
	case rows.Secrets:
		return record{ID: path(s.jid, "secret", r.Str(1), r.Str(2), r.Str(3)), Value: r.Bytes(4), Sender: r.Str(2)}
	case rows.Tokens:
		return record{ID: path(s.jid, "token", r.Str(1)), Value: r.Bytes(2), Number: r.Int(3)}
	}
	expires := time.UnixMilli(r.Int(4)).Add(keepEvents)
	return record{ID: path(s.jid, "event", hex.EncodeToString(r.Bytes(1))), Value: r.Bytes(2), Number: r.Int(3), At: r.Int(4), Expires: &expires}
}
