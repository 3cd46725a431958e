package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/devices/rows"
	"github.com/wildcathub/wildcat/core/store"
)

func (m *move) copyAll(ctx context.Context) error {
	for _, k := range store.Kinds() {
		n := 0
		err := each(ctx, m.from.Store, k, func(records []any) error {
			records = moved(records)
			n += len(records)
			m.noteEpochs(records)
			if err := m.touch(ctx); err != nil {
				return err
			}
			if k == store.KindBlobs {
				return store.Each(records, func(info store.BlobInfo) error { return m.copyBlob(ctx, info) })
			}
			return m.to.Store.Import(ctx, k, records)
		})
		if err != nil {
			return err
		}
		m.opts.Progress(string(k), n)
	}
	if err := m.raiseLeases(ctx); err != nil {
		return err
	}
	return m.copyKeys(ctx)
}

func (m *move) noteEpochs(records []any) {
	for _, r := range records {
		switch x := r.(type) {
		case store.Lease:
			m.epoch = max(m.epoch, x.Epoch)
		case store.ChatRecord:
			m.epoch = max(m.epoch, x.Epoch)
		case store.StoredEvent:
			m.epoch = max(m.epoch, x.Epoch)
		case store.Send:
			m.epoch = max(m.epoch, x.Epoch)
		case store.Delivery:
			m.epoch = max(m.epoch, x.Epoch)
		}
	}
}

// raiseLeases makes the next lease of every account and partition higher than all that has
// written: on a file one lease stands behind all, on a shared database each has its own.
func (m *move) raiseLeases(ctx context.Context) error {
	accounts, err := m.from.Store.ListAccounts(ctx)
	if err != nil {
		return err
	}
	leases := []any{store.Lease{Name: "hub", Epoch: m.epoch}}
	for _, a := range accounts {
		leases = append(leases, store.Lease{Name: "account/" + a.ID, Epoch: m.epoch})
	}
	for p := range store.Partitions {
		leases = append(leases, store.Lease{Name: store.PartitionLease(p), Epoch: m.epoch})
	}
	return m.to.Store.Import(ctx, store.KindLeases, leases)
}

// copyBlob copies a file, unless it is there.
func (m *move) copyBlob(ctx context.Context, info store.BlobInfo) error {
	there, have, err := m.to.Store.OpenBlob(ctx, info.ID)
	switch {
	case err == nil:
		if err := there.Close(); err != nil {
			return err
		}
		if have.SHA256 == info.SHA256 && have.Size == info.Size {
			return nil
		}
		if err := m.to.Store.DeleteBlob(ctx, info.ID); err != nil {
			return err
		}
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	f, _, err := m.from.Store.OpenBlob(ctx, info.ID)
	if err != nil {
		return err
	}
	out, err := m.to.Store.PutBlob(ctx, info, &alive{Reader: f, touch: func() error { return m.touch(ctx) }})
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if out.SHA256 != info.SHA256 {
		return fmt.Errorf("file %s is damaged: its content has another hash than when it was stored", info.ID)
	}
	return nil
}

// alive prolongs the leases while a long file is read.
type alive struct {
	io.Reader
	touch func() error
}

// Read implements io.Reader.
func (a *alive) Read(p []byte) (int, error) {
	if err := a.touch(); err != nil {
		return 0, err
	}
	return a.Reader.Read(p)
}

// copyKeys copies the keys of the devices that an account has.
func (m *move) copyKeys(ctx context.Context) error {
	ids, err := m.from.Keys.List(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		o, ok := m.owners[id]
		if !ok {
			continue
		}
		n := 0
		for _, t := range tablesOf() {
			copied, err := m.copyTable(ctx, id, o, t)
			if err != nil {
				return err
			}
			n += copied
		}
		m.opts.Progress("keys of "+o.Account, n)
	}
	n, err := m.copyTable(ctx, "", devices.Owner{}, lidTable())
	m.opts.Progress("keys: "+lidTable().Name, n)
	return err
}

func (m *move) copyTable(ctx context.Context, id string, o devices.Owner, t rows.Table) (n int, err error) {
	var batch []rows.Row
	flush := func() error {
		if err := errors.Join(ctx.Err(), m.touch(ctx)); err != nil {
			return err
		}
		err := m.to.Keys.ImportKeys(ctx, id, o, t, batch)
		batch = nil
		return err
	}
	err = m.from.Keys.ExportKeys(ctx, id, t, func(r rows.Row) error {
		n++
		if batch = append(batch, r); len(batch) < page {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return n, err
}
