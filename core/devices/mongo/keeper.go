package mongo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"go.mau.fi/whatsmeow/store"
)

// keeper saves and deletes one device.
type keeper struct {
	c *Container
	o Owner

	mu     sync.Mutex
	stores *Stores // nil before it is saved for the first time
}

var _ store.DeviceContainer = (*keeper)(nil)

func (k *keeper) fill(dev *store.Device, s *Stores) {
	k.stores = s
	dev.Identities, dev.Sessions, dev.PreKeys, dev.SenderKeys = s, s, s, s
	dev.AppStateKeys, dev.AppState, dev.Contacts, dev.ChatSettings = s, s, s, s
	dev.MsgSecrets, dev.PrivacyTokens, dev.EventBuffer, dev.LIDs = s, s, s, k.c.lids
	dev.Container, dev.Initialized = k, true
}

// PutDevice implements store.DeviceContainer. The first time it stores all keys and fills
// in the device's stores; afterwards it changes what can change.
func (k *keeper) PutDevice(ctx context.Context, dev *store.Device) error {
	if dev.ID == nil {
		return ErrNoID
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stores == nil {
		s, err := k.c.insert(ctx, dev, k.o)
		if s != nil {
			k.fill(dev, s)
		}
		return err
	}
	d := encodeDevice(dev)
	return k.stores.commitDevice(ctx, func(stamp string) mongo.WriteModel {
		return mongo.NewUpdateOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}}).SetUpdate(bson.D{{Key: "$set", Value: bson.D{
			{Key: "s", Value: stamp},
			{Key: "lid", Value: d.LID},
			{Key: "platform", Value: d.Platform},
			{Key: "business", Value: d.BusinessName},
			{Key: "push", Value: d.PushName},
			{Key: "lidMigration", Value: d.Migrated},
		}}})
	})
}

// insert stores a device that was just paired. The stores are returned even with an
// error: whatsmeow uses them to clean up.
func (c *Container) insert(ctx context.Context, dev *store.Device, o Owner) (*Stores, error) {
	jid, coll := *dev.ID, collectionOf(o)
	s := c.stores(jid, coll, fence{ID: fenceID(jid.String()), Epoch: o.Epoch})
	if err := c.ensureIndex(ctx, coll); err != nil {
		return s, err
	}
	// First where the keys are, so that none are anywhere else.
	if p, err := c.place(ctx, jid); err != nil {
		return s, err
	} else if p != nil && p.Collection != coll {
		if err := c.Delete(ctx, jid, o); err != nil {
			return s, err
		}
	}
	err := do(ctx, func(ctx context.Context) error {
		p := place{ID: jid.String(), Collection: coll, Account: o.Account}
		_, err := c.coll(collDevices).ReplaceOne(ctx, bson.D{{Key: "_id", Value: p.ID}}, p, options.Replace().SetUpsert(true))
		return err
	})
	if err != nil {
		return s, fmt.Errorf("place device %s: %w", jid, err)
	}
	err = c.setFence(ctx, coll, s.fence.revive())
	if errors.Is(err, ErrFenced) {
		s.fence, err = c.takeFence(ctx, jid, coll, o)
	}
	if err != nil {
		return s, err
	}
	// What an earlier device of this address left is of another identity.
	if err := c.sweep(ctx, jid, coll); err != nil {
		return s, err
	}
	d := encodeDevice(dev)
	counter := op{rec: record{ID: path(s.jid, "counter")}}
	return s, s.commitDevice(ctx, func(stamp string) mongo.WriteModel { return counter.model(stamp, c.now()) },
		func(stamp string) mongo.WriteModel {
			d.Stamp = stamp
			return mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: d.ID}}).SetReplacement(d).SetUpsert(true)
		})
}

// commitDevice makes changes of the device itself, behind the fence.
func (s *Stores) commitDevice(ctx context.Context, changes ...func(stamp string) mongo.WriteModel) error {
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	models, stamp := []mongo.WriteModel{s.fence.check()}, s.c.stamp(s.fence.Epoch)
	for _, m := range changes {
		models = append(models, m(stamp))
	}
	at, err := s.run(ctx, models)
	if err == nil && at >= 0 {
		err = fmt.Errorf("write device %s: %w", s.jid, ErrFenced)
	}
	return err
}

// DeleteDevice implements store.DeviceContainer. Whoever still uses the device's stores
// is refused.
func (k *keeper) DeleteDevice(ctx context.Context, dev *store.Device) error {
	if dev.ID == nil {
		return ErrNoID
	}
	k.mu.Lock()
	s := k.stores
	k.mu.Unlock()
	if s == nil {
		return k.c.Delete(ctx, *dev.ID, k.o)
	}
	return k.c.purge(ctx, *dev.ID, s.coll.Name(), s.fence.Epoch)
}
