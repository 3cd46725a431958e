package store

import (
	"context"
	"io"
	"time"
)

// BlobInfo describes a stored file.
type BlobInfo struct {
	// ID is chosen by the caller and unique.
	ID      string
	Account string
	// Name is a file name for people.
	Name string
	MIME string
	// Size in bytes and SHA256 in hex are set by PutBlob.
	Size   int64
	SHA256 string
	// Meta is free: message id, chat, media type …
	Meta      map[string]string
	CreatedAt time.Time
}

// BlobQuery selects files, newest first. Meta must match exactly where given.
type BlobQuery struct {
	Account string
	// Accounts, if there are any, limit the answer to these as well.
	Accounts []string
	Meta     map[string]string
	Offset   int
	Limit    int
}

// Blobs keeps files. A file is visible only when it is whole.
type Blobs interface {
	// PutBlob stores r to its end and returns the info with Size and SHA256; ErrExists
	// if the id is taken. Memory use does not depend on the size.
	PutBlob(ctx context.Context, info BlobInfo, r io.Reader) (BlobInfo, error)
	// OpenBlob opens a file for reading and seeking (ranges), or ErrNotFound.
	OpenBlob(ctx context.Context, id string) (io.ReadSeekCloser, BlobInfo, error)
	// ListBlobs returns a page.
	ListBlobs(ctx context.Context, q BlobQuery) ([]BlobInfo, error)
	// DeleteBlob removes one; success if it is gone.
	DeleteBlob(ctx context.Context, id string) error
}
