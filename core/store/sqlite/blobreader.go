package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wildcathub/wildcat/core/store"
)

// OpenBlob implements store.Blobs. The context is for opening only. A file that is
// deleted while it is read ends with an error.
func (s *Store) OpenBlob(ctx context.Context, id string) (io.ReadSeekCloser, store.BlobInfo, error) {
	f, info, err := s.openBlob(ctx, id)
	if err == nil && f.internal {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, store.BlobInfo{}, fmt.Errorf("open blob %s: %w", id, err)
	}
	return f, info, nil
}

func (s *Store) openBlob(ctx context.Context, id string) (*blobReader, store.BlobInfo, error) {
	f := &blobReader{r: s.r, at: -1}
	info, n, err := s.scanBlob(func(dest ...any) error {
		return s.r.row(ctx, `SELECT n, id, account_n, name, mime, size, sha256, created_at, meta, internal FROM blobs WHERE id = ?`,
			[]any{id}, append(dest, &f.internal)...)
	})
	if noRows(err) {
		err = store.ErrNotFound
	}
	f.n, f.size = n, info.Size
	return f, info, err
}

// blobReader reads a file a piece at a time. It is not safe for concurrent use.
type blobReader struct {
	r        *reader
	n        int64
	size     int64
	internal bool

	pos    int64
	at     int64 // the number of the piece in chunk, -1 for none
	chunk  []byte
	closed bool
}

var errBlobClosed = errors.New("blob is closed")

// Read implements io.Reader.
func (b *blobReader) Read(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, errBlobClosed
	case b.pos >= b.size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	if want := b.pos / chunkSize; want != b.at {
		b.at, b.chunk = -1, nil
		// io.Reader has no context; reading one row is short.
		err := b.r.row(context.Background(), `SELECT data FROM blob_chunks WHERE n = ?`, []any{b.n*maxChunks + want}, &b.chunk)
		if noRows(err) {
			err = store.ErrNotFound
		}
		if err != nil {
			return 0, fmt.Errorf("read blob: %w", err)
		}
		b.at = want
	}
	off := int(b.pos % chunkSize)
	if off >= len(b.chunk) {
		return 0, fmt.Errorf("read blob: piece %d: %w", b.at, io.ErrUnexpectedEOF)
	}
	n := copy(p, b.chunk[off:])
	b.pos += int64(n)
	return n, nil
}

// Seek implements io.Seeker.
func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += b.pos
	case io.SeekEnd:
		offset += b.size
	default:
		return 0, fmt.Errorf("seek in blob: whence %d", whence)
	}
	if b.closed {
		return 0, errBlobClosed
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek in blob: position %d", offset)
	}
	b.pos = offset
	return offset, nil
}

// Close implements io.Closer. It may be called twice.
func (b *blobReader) Close() error {
	b.closed, b.chunk, b.at = true, nil, -1
	return nil
}
