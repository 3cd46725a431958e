package mongo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// stream is the same bytes for the same seed, made as they are read.
func stream(seed int, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}), size)
}

func hashOf(t require.TestingT, r io.Reader) string {
	h := sha256.New()
	_, err := io.Copy(h, r)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

func TestTheDriverReadsWhatWeWrite(t *testing.T) {
	uri := server(t)
	name := database(t, uri)
	s := openStore(t, Config{URI: uri, Database: name}, Deps{})
	bucket := admin(t, uri).Database(name).GridFSBucket(options.GridFSBucket().SetName("media"))
	for i, size := range []int64{0, 1, chunkSize, chunkSize + 1, 5*chunkSize + 7} {
		id := fmt.Sprint("f", i)
		info, err := s.PutBlob(t.Context(), store.BlobInfo{
			ID: id, Account: "a", Name: "a name.jpg", MIME: "image/jpeg", Meta: map[string]string{"chat.x": "y"},
		}, stream(i, size))
		require.NoError(t, err)
		var buf bytes.Buffer
		n, err := bucket.DownloadToStreamByName(t.Context(), "a name.jpg", &buf)
		require.NoError(t, err)
		require.Equal(t, size, n)
		require.Equal(t, info.SHA256, hashOf(t, &buf))
		require.NoError(t, s.DeleteBlob(t.Context(), id))
	}
}

func TestUploadsOfEqualFilesDoNotMix(t *testing.T) {
	s := openStore(t, Config{}, Deps{})
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: fmt.Sprint(i)}, stream(i%3, 300_000))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 24 {
		f, info, err := s.OpenBlob(t.Context(), fmt.Sprint(i))
		require.NoError(t, err)
		require.Equal(t, hashOf(t, stream(i%3, 300_000)), info.SHA256)
		require.Equal(t, info.SHA256, hashOf(t, f))
	}
	require.NoError(t, s.DeleteBlob(t.Context(), "0"))
	f, _, err := s.OpenBlob(t.Context(), "3")
	require.NoError(t, err)
	require.Equal(t, hashOf(t, stream(0, 300_000)), hashOf(t, f), "one with the same content")
}

func TestADamagedFileIsNotReadToItsEnd(t *testing.T) {
	s := openStore(t, Config{}, Deps{})
	put := func(id string) bson.ObjectID {
		_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: id}, stream(1, 3*chunkSize))
		require.NoError(t, err)
		f, err := s.media.find(t.Context(), id)
		require.NoError(t, err)
		return f.ID
	}
	read := func(id string) error {
		f, _, err := s.OpenBlob(t.Context(), id)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, f)
		return err
	}
	chunks := s.coll("media.chunks")
	of := func(id bson.ObjectID, n int) bson.D { return doc(el("files_id", id), el("n", n)) }

	require.NoError(t, read(s.nameOf(t, put("whole"))))
	_, err := chunks.UpdateOne(t.Context(), of(put("changed"), 1), doc(set(el("data", make([]byte, chunkSize)))))
	require.NoError(t, err)
	require.ErrorIs(t, read("changed"), errDamaged)
	_, err = chunks.UpdateOne(t.Context(), of(put("short"), 1), doc(set(el("data", []byte("short")))))
	require.NoError(t, err)
	require.ErrorIs(t, read("short"), errDamaged)
	_, err = chunks.DeleteOne(t.Context(), of(put("missing"), 2))
	require.NoError(t, err)
	require.ErrorIs(t, read("missing"), errDamaged)
}

// nameOf is the way back from a file to the id that its caller gave it.
func (s *Store) nameOf(t *testing.T, id bson.ObjectID) string {
	t.Helper()
	f, err := findOne[fileDoc](t.Context(), s, s.media.files(), doc(el("_id", id)), options.FindOne())
	require.NoError(t, err)
	return f.Metadata.ID
}

func TestWhatAnUploadLeftThatWasCutShortIsSwept(t *testing.T) {
	uri := server(t)
	name := database(t, uri)
	s := openStore(t, Config{URI: uri, Database: name}, Deps{Now: noon})
	_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: "stays"}, stream(1, 3*chunkSize))
	require.NoError(t, err)
	u := &upload{b: s.media, hash: sha256.New(), file: fileDoc{ID: bson.NewObjectID(), ChunkSize: chunkSize}}
	require.NoError(t, u.write(t.Context(), make([]byte, 2*chunkSize)))
	chunksAt := func(now time.Time) int {
		later := openStore(t, Config{URI: uri, Database: name}, Deps{Now: func() time.Time { return now }})
		n, err := later.count(t.Context(), "media.chunks", doc())
		require.NoError(t, err)
		return n
	}
	require.Equal(t, 5, chunksAt(noon().Add(uploadTimeout/2)), "it may be another hub's, and go on")
	require.Equal(t, 3, chunksAt(noon().Add(2*uploadTimeout)))
	// Whoever wakes up after that has lost.
	u.touched = noon().Add(-time.Hour)
	require.ErrorIs(t, u.finish(t.Context()), store.ErrNotFound)
	_, _, err = s.OpenBlob(t.Context(), "stays")
	require.NoError(t, err)
}
