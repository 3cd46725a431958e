package mongo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// chunkSize is the size of a chunk in bytes, the GridFS specification's default.
	chunkSize = 255 << 10
	// chunksPerWrite is how many share a round trip, and how many are in memory.
	chunksPerWrite = 4
	// writesAtOnce is how many of a bucket's round trips with chunks are under way. A server
	// writes no faster for having more of them, and each would wait longer, as would events.
	writesAtOnce = 4
	// touchEvery is how often an upload says that it is alive; one that has not for
	// uploadTimeout was cut short.
	touchEvery    = 5 * time.Minute
	uploadTimeout = time.Hour
)

// bucket is a GridFS bucket: <name>.files and <name>.chunks, as any driver reads them.
// The writer is our own: the driver's shares a buffer between the uploads of a bucket,
// which damages files without an error, and allocates 16 MiB for each.
type bucket struct {
	s      *Store
	name   string
	writes chan struct{} // has writesAtOnce places; nil where nothing is written
}

func newBucket(s *Store, name string) *bucket {
	return &bucket{s: s, name: name, writes: make(chan struct{}, writesAtOnce)}
}

func (b *bucket) files() string  { return b.name + ".files" }
func (b *bucket) chunks() string { return b.name + ".chunks" }

type fileDoc struct {
	ID         bson.ObjectID `bson:"_id"` // random, so that nothing else is ever stored under it
	Length     int64         `bson:"length"`
	ChunkSize  int32         `bson:"chunkSize"`
	UploadDate time.Time     `bson:"uploadDate"`
	Filename   string        `bson:"filename"`
	Metadata   fileMeta      `bson:"metadata"`
}

type fileMeta struct {
	ID          string `bson:"id"` // the caller's, unique
	Account     string `bson:"account"`
	ContentType string `bson:"contentType"`
	SHA256      string `bson:"sha256"`
	Meta        []pair `bson:"meta,omitempty"`
}

type chunkDoc struct {
	ID      bson.ObjectID `bson:"_id"`
	FilesID bson.ObjectID `bson:"files_id"`
	N       int32         `bson:"n"`
	Data    []byte        `bson:"data"`
}

// uploadDoc says that there are chunks of a file which is not stored yet, or any more:
// what a crash leaves is found by it.
type uploadDoc struct {
	ID        bson.ObjectID `bson:"_id"` // the file's
	Bucket    string        `bson:"bucket"`
	TouchedAt time.Time     `bson:"touchedAt"`
}

func (f *fileDoc) info() store.BlobInfo {
	return store.BlobInfo{
		ID: f.Metadata.ID, Account: f.Metadata.Account, Name: f.Filename, MIME: f.Metadata.ContentType, Size: f.Length,
		SHA256: f.Metadata.SHA256, Meta: mapOf(f.Metadata.Meta), CreatedAt: f.UploadDate.UTC(),
	}
}

// upload is one file on its way in.
type upload struct {
	b       *bucket
	file    fileDoc
	hash    hash.Hash
	next    int32
	touched time.Time
	began   bool
}

// put stores r to its end. The file's own document, which makes it visible, is the last.
func (b *bucket) put(ctx context.Context, info store.BlobInfo, r io.Reader) (_ store.BlobInfo, err error) {
	if info.ID == "" {
		return info, errors.New("no id")
	}
	if _, err := b.find(ctx, info.ID); !errors.Is(err, store.ErrNotFound) {
		if err == nil {
			err = store.ErrExists // the unique index has the last word
		}
		return info, err
	}
	u := &upload{b: b, hash: sha256.New(), file: fileDoc{
		ID: bson.NewObjectID(), ChunkSize: chunkSize, UploadDate: trim(b.s.orNow(info.CreatedAt)), Filename: clean(info.Name),
		Metadata: fileMeta{ID: info.ID, Account: info.Account, ContentType: clean(info.MIME), Meta: pairs(info.Meta)},
	}}
	defer func() {
		if err != nil && u.began {
			u.discard(context.WithoutCancel(ctx))
		}
	}()
	buf := make([]byte, chunksPerWrite*chunkSize)
	for {
		n, err := io.ReadFull(r, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return info, fmt.Errorf("read: %w", err)
		}
		if err := u.write(ctx, buf[:n]); err != nil {
			return info, err
		}
		if !last {
			continue
		}
		if err := u.finish(ctx); err != nil {
			return info, err
		}
		return u.file.info(), nil
	}
}

// write stores a piece as chunks.
func (u *upload) write(ctx context.Context, piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	u.hash.Write(piece)
	u.file.Length += int64(len(piece))
	if err := u.alive(ctx); err != nil {
		return err
	}
	var docs []any
	for len(piece) > 0 {
		n := min(len(piece), chunkSize)
		docs = append(docs, chunkDoc{ID: bson.NewObjectID(), FilesID: u.file.ID, N: u.next, Data: piece[:n]})
		piece, u.next = piece[n:], u.next+1
	}
	select {
	case u.b.writes <- struct{}{}:
		defer func() { <-u.b.writes }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// No other upload has this file's id, so what is there already a try before has stored.
	_, err := u.b.s.insertAll(ctx, u.b.chunks(), docs)
	return err
}

// alive notes the upload before its first chunk, and from time to time that it goes on.
func (u *upload) alive(ctx context.Context) error {
	s := u.b.s
	now := s.now()
	switch {
	case !u.began:
		u.began, u.touched = true, now
		_, err := s.insertAll(ctx, collUploads, []any{uploadDoc{ID: u.file.ID, Bucket: u.b.name, TouchedAt: now}})
		return err
	case now.Sub(u.touched) < touchEvery:
		return nil
	}
	return u.touch(ctx, now)
}

// touch fails if the upload was taken for dead.
func (u *upload) touch(ctx context.Context, now time.Time) error {
	s := u.b.s
	u.touched = now
	return s.do(ctx, func(ctx context.Context, _ bool) error {
		res, err := s.coll(collUploads).UpdateOne(ctx, doc(el("_id", u.file.ID)), doc(set(el("touchedAt", now))))
		if err == nil && res.MatchedCount == 0 {
			err = fmt.Errorf("upload was removed: %w", store.ErrNotFound)
		}
		return err
	})
}

// finish makes the file visible.
func (u *upload) finish(ctx context.Context) error {
	s := u.b.s
	u.file.Metadata.SHA256 = hex.EncodeToString(u.hash.Sum(nil))
	if u.began && s.now().Sub(u.touched) > touchEvery {
		if err := u.touch(ctx, s.now()); err != nil {
			return err
		}
	}
	err := s.do(ctx, func(ctx context.Context, again bool) error {
		_, err := s.coll(u.b.files()).InsertOne(ctx, u.file)
		if !mongo.IsDuplicateKeyError(err) {
			return err
		}
		if again {
			err := s.coll(u.b.files()).FindOne(ctx, doc(el("_id", u.file.ID))).Err()
			if !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
		}
		return store.ErrExists
	})
	if err == nil && u.began {
		// It is stored; the note is swept later if this fails.
		_ = s.deleteUpload(ctx, u.file.ID)
	}
	return err
}

// discard removes what an upload that failed has written; what is left goes with the
// next sweep.
func (u *upload) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s := u.b.s
	err := s.deleteAll(ctx, u.b.chunks(), doc(el("files_id", u.file.ID)))
	if err == nil {
		err = s.deleteUpload(ctx, u.file.ID)
	}
	if err != nil && !errors.Is(err, errClosed) {
		s.log.Warn("unfinished upload could not be removed", "err", err)
	}
}

func (s *Store) deleteUpload(ctx context.Context, id bson.ObjectID) error {
	return s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(collUploads).DeleteOne(ctx, doc(el("_id", id)))
		return err
	})
}

// sweepUploads removes, at Open, what uploads and removals left that were cut short.
// Those of other hubs that are under way are younger.
func (s *Store) sweepUploads(ctx context.Context) error {
	old, err := findAll[uploadDoc](ctx, s, collUploads, doc(el("touchedAt", doc(el("$lt", s.now().Add(-uploadTimeout))))), find())
	if err != nil {
		return err
	}
	for _, u := range old {
		b := &bucket{s: s, name: u.Bucket}
		_, err := findOne[idDoc](ctx, s, b.files(), doc(el("_id", u.ID)), options.FindOne().SetProjection(byKey()))
		if errors.Is(err, store.ErrNotFound) {
			err = s.deleteAll(ctx, b.chunks(), doc(el("files_id", u.ID)))
		}
		if err == nil {
			err = s.deleteUpload(ctx, u.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bucket) find(ctx context.Context, id string) (fileDoc, error) {
	return findOne[fileDoc](ctx, b.s, b.files(), doc(el("metadata.id", id)), options.FindOne())
}

// remove removes a file: it is invisible first, and the note finds what a crash leaves.
func (b *bucket) remove(ctx context.Context, id bson.ObjectID) error {
	s := b.s
	note := uploadDoc{ID: id, Bucket: b.name, TouchedAt: time.UnixMilli(0)}
	if _, err := s.insertAll(ctx, collUploads, []any{note}); err != nil {
		return err
	}
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(b.files()).DeleteOne(ctx, doc(el("_id", id)))
		return err
	})
	if err == nil {
		err = s.deleteAll(ctx, b.chunks(), doc(el("files_id", id)))
	}
	if err == nil {
		err = s.deleteUpload(ctx, id)
	}
	return err
}

// removeAccount removes all files of an account.
func (b *bucket) removeAccount(ctx context.Context, account string) error {
	files, err := findAll[fileDoc](ctx, b.s, b.files(), doc(el("metadata.account", account)), find().SetProjection(byKey()))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := b.remove(ctx, f.ID); err != nil {
			return err
		}
	}
	return nil
}
