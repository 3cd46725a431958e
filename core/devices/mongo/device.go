package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// ErrNoID is how saving or deleting a device fails that has no address yet.
var ErrNoID = errors.New("device has no address yet")

// Device loads a device and raises its fence; nil if there is none. It fails with
// ErrFenced if a later epoch has it.
func (c *Container) Device(ctx context.Context, jid types.JID, o Owner) (*store.Device, error) {
	p, err := c.place(ctx, jid)
	if err != nil || p == nil {
		return nil, err
	}
	if err := c.ensureIndex(ctx, p.Collection); err != nil {
		return nil, err
	}
	f, err := c.takeFence(ctx, jid, p.Collection, o)
	if err != nil || f.Gone {
		return nil, err
	}
	var d deviceDoc
	err = do(ctx, func(ctx context.Context) error {
		return c.coll(p.Collection).FindOne(ctx, bson.D{{Key: "_id", Value: deviceID(jid.String())}}).Decode(&d)
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read device %s: %w", jid, err)
	}
	dev, err := d.decode(jid)
	if err != nil {
		return nil, fmt.Errorf("read device %s: %w", jid, err)
	}
	k := &keeper{c: c, o: o}
	k.fill(dev, c.stores(jid, p.Collection, f))
	return dev, nil
}

// place says where a device's keys are; nil if nowhere.
func (c *Container) place(ctx context.Context, jid types.JID) (*place, error) {
	found, err := find[place](ctx, c.coll(collDevices), bson.D{{Key: "_id", Value: jid.String()}}, nil)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// takeFence raises a device's fence to the owner's epoch. It is gone if the device was
// deleted.
func (c *Container) takeFence(ctx context.Context, jid types.JID, coll string, o Owner) (fence, error) {
	f := fence{ID: fenceID(jid.String()), Epoch: o.Epoch}
	if o.Epoch > 0 {
		err := c.setFence(ctx, coll, f.raise())
		if !errors.Is(err, ErrFenced) {
			return f, err
		}
	}
	found, err := find[fence](ctx, c.coll(coll), bson.D{{Key: "_id", Value: f.ID}}, nil)
	switch {
	case err != nil:
		return f, err
	case len(found) == 0: // a pairing that a crash cut off
		return f, c.setFence(ctx, coll, f.raise())
	case o.Epoch > 0 && !found[0].Gone:
		return f, ErrFenced
	}
	return found[0], nil
}

func (c *Container) setFence(ctx context.Context, coll string, m *mongo.ReplaceOneModel) error {
	err := do(ctx, func(ctx context.Context) error {
		_, err := c.coll(coll).ReplaceOne(ctx, m.Filter, m.Replacement, options.Replace().SetUpsert(true))
		return err
	})
	if mongo.IsDuplicateKeyError(err) {
		return ErrFenced
	}
	if err != nil {
		return fmt.Errorf("take device: %w", err)
	}
	return nil
}

// Delete removes a device and all its keys; success if there are none. With an epoch
// that is not the latest it fails with ErrFenced.
func (c *Container) Delete(ctx context.Context, jid types.JID, o Owner) error {
	p, err := c.place(ctx, jid)
	if err != nil || p == nil {
		return err
	}
	return c.purge(ctx, jid, p.Collection, o.Epoch)
}

// purge closes the fence for all, deletes the keys, and then says so. It goes on with
// what a crash cut off.
func (c *Container) purge(ctx context.Context, jid types.JID, coll string, epoch uint64) error {
	until, upTo := c.now().Add(goneFor), epoch
	if epoch == 0 {
		upTo = noEpoch
	}
	closed := fence{ID: fenceID(jid.String()), Epoch: noEpoch, Gone: true, Expires: &until}
	err := c.setFence(ctx, coll, closed.replaced(bson.E{Key: "e", Value: bson.D{{Key: "$lte", Value: upTo}}}))
	if errors.Is(err, ErrFenced) {
		if f, ferr := c.takeFence(ctx, jid, coll, Owner{Epoch: epoch}); ferr == nil && f.Gone {
			err = nil // deleted already
		}
	}
	if err != nil {
		return err
	}
	if err := c.sweep(ctx, jid, coll); err != nil {
		return err
	}
	err = do(ctx, func(ctx context.Context) error {
		_, err := c.coll(collDevices).DeleteOne(ctx, bson.D{{Key: "_id", Value: jid.String()}})
		return err
	})
	if err != nil {
		return fmt.Errorf("delete device %s: %w", jid, err)
	}
	return nil
}

// sweep deletes all of a device's documents but its fence.
func (c *Container) sweep(ctx context.Context, jid types.JID, coll string) error {
	err := do(ctx, func(ctx context.Context) error {
		_, err := c.coll(coll).DeleteMany(ctx, bson.D{{Key: "_id", Value: within(path(jid.String()), '/')}})
		return err
	})
	if err != nil {
		return fmt.Errorf("delete keys of %s: %w", jid, err)
	}
	return nil
}
