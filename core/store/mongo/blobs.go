package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/wildcathub/wildcat/core/store"
)

// PutBlob implements store.Blobs.
func (s *Store) PutBlob(ctx context.Context, info store.BlobInfo, r io.Reader) (store.BlobInfo, error) {
	out, err := s.media.put(ctx, info, r)
	if err != nil {
		return store.BlobInfo{}, fmt.Errorf("put blob %s: %w", info.ID, err)
	}
	return out, nil
}

// OpenBlob implements store.Blobs. A file that is deleted while it is read ends with an error.
func (s *Store) OpenBlob(ctx context.Context, id string) (io.ReadSeekCloser, store.BlobInfo, error) {
	f, info, err := s.media.open(ctx, id)
	if err != nil {
		return nil, store.BlobInfo{}, fmt.Errorf("open blob %s: %w", id, err)
	}
	return f, info, nil
}

// ListBlobs implements store.Blobs.
func (s *Store) ListBlobs(ctx context.Context, q store.BlobQuery) ([]store.BlobInfo, error) {
	filter := doc()
	if q.Account != "" {
		filter = append(filter, el("metadata.account", q.Account))
	}
	if len(q.Accounts) > 0 {
		if q.Account != "" && !slices.Contains(q.Accounts, q.Account) {
			return nil, nil
		}
		if q.Account == "" {
			filter = append(filter, el("metadata.account", in(q.Accounts)))
		}
	}
	wanted := bson.A{}
	for _, p := range pairs(q.Meta) {
		wanted = append(wanted, doc(el("metadata.meta", p)))
	}
	if len(wanted) > 0 {
		filter = append(filter, el("$and", wanted))
	}
	rows, err := findAll[fileDoc](ctx, s, s.media.files(), filter, find().SetSort(doc(el("uploadDate", -1), el("_id", -1))).
		SetSkip(int64(max(q.Offset, 0))).SetLimit(limitOr(q.Limit)))
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	out := make([]store.BlobInfo, len(rows))
	for i := range rows {
		out[i] = rows[i].info()
	}
	return out, nil
}

// DeleteBlob implements store.Blobs.
func (s *Store) DeleteBlob(ctx context.Context, id string) error {
	f, err := s.media.find(ctx, id)
	if err == nil {
		err = s.media.remove(ctx, f.ID)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("delete blob %s: %w", id, err)
	}
	return nil
}
