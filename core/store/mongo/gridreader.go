package mongo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/wildcathub/wildcat/core/store"
)

// open opens a file. The context is for opening only.
func (b *bucket) open(ctx context.Context, id string) (*fileReader, store.BlobInfo, error) {
	f, err := b.find(ctx, id)
	if err != nil {
		return nil, store.BlobInfo{}, err
	}
	return &fileReader{b: b, file: f, hash: sha256.New()}, f.info(), nil
}

// fileReader reads a file some chunks at a time. A file that is read from its beginning
// to its end in one go is checked against its SHA-256; the last read fails if it is
// damaged. It is not safe for concurrent use.
type fileReader struct {
	b      *bucket
	file   fileDoc
	pos    int64
	ready  []chunkDoc // read ahead; the first holds pos
	closed bool

	hash   hash.Hash // of everything up to hashed
	hashed int64
}

var (
	errFileClosed = errors.New("file is closed")
	// errDamaged is what a file gets whose chunks are not what was stored.
	errDamaged = errors.New("the file is damaged")
)

// Read implements io.Reader.
func (f *fileReader) Read(p []byte) (int, error) {
	switch {
	case f.closed:
		return 0, errFileClosed
	case f.pos >= f.file.Length:
		return 0, f.end()
	case len(p) == 0:
		return 0, nil
	}
	size := int64(f.file.ChunkSize)
	want := f.pos / size
	for len(f.ready) > 0 && int64(f.ready[0].N) != want {
		f.ready = f.ready[1:]
	}
	if len(f.ready) == 0 {
		if err := f.fetch(want); err != nil {
			return 0, fmt.Errorf("read file: %w", err)
		}
	}
	chunk := f.ready[0].Data
	if int64(len(chunk)) != min(size, f.file.Length-want*size) {
		return 0, fmt.Errorf("read file: chunk %d has %d bytes: %w", want, len(chunk), errDamaged)
	}
	n := copy(p, chunk[f.pos-want*size:])
	if f.hashed == f.pos {
		f.hash.Write(p[:n])
		f.hashed += int64(n)
	}
	f.pos += int64(n)
	return n, nil
}

// end is the error at the end of the file.
func (f *fileReader) end() error {
	if f.hashed == f.file.Length && f.file.Metadata.SHA256 != "" && hex.EncodeToString(f.hash.Sum(nil)) != f.file.Metadata.SHA256 {
		return errDamaged
	}
	return io.EOF
}

// fetch reads some chunks from one on: one for a range, several once it goes on.
func (f *fileReader) fetch(from int64) error {
	n := int64(1)
	if f.pos == f.hashed && f.pos > 0 {
		n = chunksPerWrite
	}
	// io.Reader has no context; each try is bounded by the engine.
	got, err := findAll[chunkDoc](context.Background(), f.b.s, f.b.chunks(),
		doc(el("files_id", f.file.ID), el("n", doc(el("$gte", from), el("$lt", from+n)))), find().SetSort(doc(el("n", 1))))
	if err != nil {
		return err
	}
	if len(got) == 0 || int64(got[0].N) != from {
		return fmt.Errorf("chunk %d is missing: %w", from, errDamaged)
	}
	f.ready = got
	return nil
}

// Seek implements io.Seeker.
func (f *fileReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.file.Length
	default:
		return 0, fmt.Errorf("seek in file: whence %d", whence)
	}
	if f.closed {
		return 0, errFileClosed
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek in file: position %d", offset)
	}
	f.pos = offset
	return offset, nil
}

// Close implements io.Closer. It may be called twice.
func (f *fileReader) Close() error {
	f.closed, f.ready = true, nil
	return nil
}
