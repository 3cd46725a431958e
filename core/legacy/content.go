package legacy

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ErrDamaged says that a file is not whole.
var ErrDamaged = errors.New("the file is not whole")

// chunksAtOnce is how many chunks, usually of 255 KiB, are in memory.
const chunksAtOnce = 4

// Content opens a file; ctx serves until Close. Reading it fails with ErrDamaged where it
// is not whole. The driver's reader is not used since it believes what the file's
// document says of the chunks.
func (s *Source) Content(ctx context.Context, f File) (io.ReadCloser, error) {
	cur, err := s.db.Collection(bucketName+".chunks").Find(ctx, bson.D{{Key: "files_id", Value: f.id}},
		options.Find().SetSort(bson.D{{Key: "n", Value: 1}}).SetBatchSize(chunksAtOnce))
	if err != nil {
		return nil, fmt.Errorf("open file %s of the source: %w", f.Info.ID, err)
	}
	return &reader{ctx: ctx, cur: cur, id: f.Info.ID, size: f.Info.Size}, nil
}

// reader reads the chunks of a file one after the other.
type reader struct {
	ctx  context.Context // an io.Reader has no other way; it ends with Close
	cur  *mongo.Cursor
	id   string
	size int64

	next int64 // the number of the next chunk
	read int64 // what the chunks before it held
	left []byte
	err  error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for len(r.left) == 0 && r.err == nil {
		r.left, r.err = r.chunk()
	}
	if len(r.left) == 0 {
		return 0, r.err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *reader) chunk() ([]byte, error) {
	if !r.cur.Next(r.ctx) {
		switch err := r.cur.Err(); {
		case err != nil:
			return nil, fmt.Errorf("read file %s of the source: %w", r.id, err)
		case r.read != r.size:
			return nil, fmt.Errorf("file %s: %w: %d of %d bytes", r.id, ErrDamaged, r.read, r.size)
		}
		return nil, io.EOF
	}
	var doc bson.D
	err := r.cur.Decode(&doc)
	n, isNumber := integer(fields(doc).get("n"))
	data, isData := fields(doc).get("data").(bson.Binary)
	if err != nil || !isNumber || !isData || n != r.next || r.read+int64(len(data.Data)) > r.size {
		return nil, fmt.Errorf("file %s: %w: chunk %d", r.id, ErrDamaged, r.next)
	}
	r.next++
	r.read += int64(len(data.Data))
	return data.Data, nil
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.cur.Close(r.ctx) }
