package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/store"
)

func (i *importing) takeFiles(ctx context.Context) error {
	t := i.report.of(lineFiles)
	err := i.from.Files(ctx, i.names, func(f legacy.File, skip *legacy.Skipped) error {
		if err := errors.Join(ctx.Err(), i.touch(ctx)); err != nil {
			return err
		}
		t.Found++
		if skip != nil {
			t.skip(*skip)
			return nil
		}
		sum, err := i.takeFile(ctx, f)
		if errors.Is(err, legacy.ErrDamaged) {
			t.skip(legacy.Skipped{ID: f.Info.ID, Reason: reasonDamaged})
			return nil
		}
		if err != nil {
			return err
		}
		i.files[f.Info.ID] = true
		return t.expect(fileRecord(f.Info, sum))
	})
	i.opts.Progress(lineFiles, len(i.files))
	return err
}

// takeFile copies a file, unless the target has the same, and returns the hash of what
// the source holds.
func (i *importing) takeFile(ctx context.Context, f legacy.File) (string, error) {
	there, have, err := i.to.Store.OpenBlob(ctx, f.Info.ID)
	switch {
	case err == nil:
		if err := there.Close(); err != nil {
			return "", err
		}
		sum, err := i.hashSource(ctx, f)
		if err != nil || sum == have.SHA256 {
			return sum, err
		}
		if err := i.to.Store.DeleteBlob(ctx, f.Info.ID); err != nil {
			return "", err
		}
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	r, err := i.from.Content(ctx, f)
	if err != nil {
		return "", err
	}
	out, err := i.to.Store.PutBlob(ctx, f.Info, i.alive(ctx, r))
	return out.SHA256, errors.Join(err, r.Close())
}

func (i *importing) hashSource(ctx context.Context, f legacy.File) (string, error) {
	r, err := i.from.Content(ctx, f)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, i.alive(ctx, r))
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, r.Close())
}

// alive prolongs the lease while a long file is read, and ends with ctx.
func (i *importing) alive(ctx context.Context, r io.Reader) io.Reader {
	return &alive{Reader: r, touch: func() error { return errors.Join(ctx.Err(), i.touch(ctx)) }}
}

// fileRecord is what is compared of a file.
func fileRecord(info store.BlobInfo, sum string) any {
	return []any{info.ID, info.Account, info.Name, info.MIME, info.Size, info.Meta, sum}
}

// compareFiles reads what the target holds.
func (i *importing) compareFiles(ctx context.Context) error {
	t := i.report.of(lineFiles)
	return each(ctx, i.to.Store, store.KindBlobs, func(records []any) error {
		return store.Each(records, func(info store.BlobInfo) error {
			if !i.files[info.ID] {
				return nil
			}
			f, _, err := i.to.Store.OpenBlob(ctx, info.ID)
			if err != nil {
				return err
			}
			h := sha256.New()
			_, err = io.Copy(h, i.alive(ctx, f))
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			return t.holds(fileRecord(info, hex.EncodeToString(h.Sum(nil))))
		})
	})
}
