package storetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// random is the same bytes for the same seed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func readBlob(s store.Store, t *testing.T, id string) ([]byte, store.BlobInfo, error) {
	f, info, err := s.OpenBlob(t.Context(), id)
	if err != nil {
		return nil, info, err
	}
	b, err := io.ReadAll(f)
	return b, info, errors.Join(err, f.Close())
}

const piece = 256 << 10

var blobTests = []test{
	{"of any size come back whole", func(t *testing.T, s store.Store) {
		for i, n := range []int{0, 1, piece - 1, piece, piece + 1, 2 * piece, 5 << 20} {
			data := random(uint64(i), n)
			info := store.BlobInfo{
				ID: fmt.Sprint("f", n), Account: "a", Name: "a name.pdf", MIME: "application/pdf",
				Meta: map[string]string{"chat": "x@y.z", "k\"ey": "v"}, CreatedAt: at(i),
			}
			want := info
			want.Size, want.SHA256 = int64(n), sum(data)
			// Readers that give little at a time, or the end with the last bytes.
			got, err := s.PutBlob(t.Context(), info, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(data))))
			require.NoError(t, err)
			same(t, want, got)
			back, got, err := readBlob(s, t, info.ID)
			require.NoError(t, err)
			same(t, want, got)
			require.True(t, bytes.Equal(data, back), "%d bytes", n)
		}
	}},
	{"serve ranges", func(t *testing.T, s store.Store) {
		data := random(1, 3*piece+100)
		_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: "f", Account: "a"}, bytes.NewReader(data))
		require.NoError(t, err)
		f, _, err := s.OpenBlob(t.Context(), "f")
		require.NoError(t, err)
		require.NoError(t, iotest.TestReader(f, data))
		for _, r := range [][2]int{{0, 10}, {piece - 5, 10}, {2 * piece, piece}, {len(data) - 7, 7}, {10, 2 * piece}} {
			pos, err := f.Seek(int64(r[0]), io.SeekStart)
			require.NoError(t, err)
			require.EqualValues(t, r[0], pos)
			got := make([]byte, r[1])
			_, err = io.ReadFull(f, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data[r[0]:r[0]+r[1]], got))
		}
		end, err := f.Seek(0, io.SeekEnd)
		require.NoError(t, err)
		require.EqualValues(t, len(data), end)
		_, err = f.Seek(-1, io.SeekStart)
		require.Error(t, err)
		require.NoError(t, f.Close())
		_, err = f.Read(make([]byte, 1))
		require.Error(t, err)
	}},
	{"are stored once", func(t *testing.T, s store.Store) {
		_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: "f"}, bytes.NewReader([]byte("one")))
		require.NoError(t, err)
		_, err = s.PutBlob(t.Context(), store.BlobInfo{ID: "f"}, bytes.NewReader([]byte("two")))
		require.ErrorIs(t, err, store.ErrExists)
		back, _, err := readBlob(s, t, "f")
		require.NoError(t, err)
		require.Equal(t, "one", string(back))
	}},
	{"16 at once do not mix", func(t *testing.T, s store.Store) {
		side(t, 16, func(i int) error {
			data := random(uint64(i), piece+i*50_000)
			got, err := s.PutBlob(t.Context(), store.BlobInfo{ID: fmt.Sprint(i)}, bytes.NewReader(data))
			if err == nil && got.SHA256 != sum(data) {
				err = errors.New("wrong hash")
			}
			return err
		})
		side(t, 16, func(i int) error {
			back, info, err := readBlob(s, t, fmt.Sprint(i))
			if err == nil && (sum(back) != info.SHA256 || sum(back) != sum(random(uint64(i), piece+i*50_000))) {
				err = fmt.Errorf("file %d is damaged", i)
			}
			return err
		})
	}},
	{"with equal contents are files of their own", func(t *testing.T, s store.Store) {
		data := random(1, 2*piece+9)
		side(t, 12, func(i int) error {
			got, err := s.PutBlob(t.Context(), store.BlobInfo{ID: fmt.Sprint(i)}, bytes.NewReader(data))
			if err == nil && got.SHA256 != sum(data) {
				err = errors.New("wrong hash")
			}
			return err
		})
		require.NoError(t, s.DeleteBlob(t.Context(), "0"))
		side(t, 11, func(i int) error {
			back, _, err := readBlob(s, t, fmt.Sprint(i+1))
			if err == nil && !bytes.Equal(data, back) {
				err = fmt.Errorf("file %d is damaged", i+1)
			}
			return err
		})
	}},
	{"one of many with the same id is stored", func(t *testing.T, s store.Store) {
		errs := make([]error, 4)
		side(t, 4, func(i int) error {
			_, errs[i] = s.PutBlob(t.Context(), store.BlobInfo{ID: "f"}, bytes.NewReader(random(uint64(i), 2*piece)))
			return nil
		})
		won := -1
		for i, err := range errs {
			if err == nil {
				require.Equal(t, -1, won)
				won = i
				continue
			}
			require.ErrorIs(t, err, store.ErrExists)
		}
		require.NotEqual(t, -1, won)
		back, _, err := readBlob(s, t, "f")
		require.NoError(t, err)
		require.True(t, bytes.Equal(random(uint64(won), 2*piece), back))
	}},
	{"a reader that fails leaves nothing to be seen", func(t *testing.T, s store.Store) {
		broken := errors.New("connection lost")
		for i, n := range []int{0, 10, 2*piece + 5} {
			r := io.MultiReader(bytes.NewReader(random(1, n)), iotest.ErrReader(broken))
			name := fmt.Sprint("f", i)
			_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: name, Account: "a"}, r)
			require.ErrorIs(t, err, broken)
			_, _, err = s.OpenBlob(t.Context(), name)
			require.ErrorIs(t, err, store.ErrNotFound)
			_, err = s.PutBlob(t.Context(), store.BlobInfo{ID: name, Account: "b"}, bytes.NewReader([]byte("ok")))
			require.NoError(t, err, "the id is free")
		}
		files, err := s.ListBlobs(t.Context(), store.BlobQuery{Account: "a"})
		require.NoError(t, err)
		require.Empty(t, files)
	}},
	{"are listed newest first by account and meta, and deleted", func(t *testing.T, s store.Store) {
		for i := range 6 {
			_, err := s.PutBlob(t.Context(), store.BlobInfo{
				ID: fmt.Sprint("f", i), Account: []string{"a", "b"}[i%2], CreatedAt: at(i),
				Meta: map[string]string{"third": fmt.Sprint(i % 3), "all": "x"},
			}, bytes.NewReader([]byte{1}))
			require.NoError(t, err)
		}
		list := func(q store.BlobQuery) (out []string) {
			files, err := s.ListBlobs(t.Context(), q)
			require.NoError(t, err)
			for _, f := range files {
				out = append(out, f.ID)
			}
			return out
		}
		require.Equal(t, []string{"f5", "f4", "f3", "f2", "f1", "f0"}, list(store.BlobQuery{}))
		require.Equal(t, []string{"f4", "f2", "f0"}, list(store.BlobQuery{Account: "a"}))
		require.Equal(t, []string{"f2"}, list(store.BlobQuery{Account: "a", Limit: 1, Offset: 1}))
		require.Equal(t, []string{"f3"}, list(store.BlobQuery{Accounts: []string{"b", "none"}, Limit: 1, Offset: 1}))
		require.Equal(t, []string{"f3", "f0"}, list(store.BlobQuery{Accounts: []string{"b", "a"}, Meta: map[string]string{"third": "0"}}))
		require.Equal(t, []string{"f0"}, list(store.BlobQuery{Accounts: []string{"a"}, Account: "a", Meta: map[string]string{"third": "0"}}))
		require.Empty(t, list(store.BlobQuery{Accounts: []string{"b"}, Account: "a"}))
		require.Empty(t, list(store.BlobQuery{Accounts: []string{"none"}}))
		require.Equal(t, []string{"f4", "f1"}, list(store.BlobQuery{Meta: map[string]string{"third": "1", "all": "x"}}))
		require.Empty(t, list(store.BlobQuery{Meta: map[string]string{"third": "1", "none": "x"}}))
		for range 2 {
			require.NoError(t, s.DeleteBlob(t.Context(), "f4"))
		}
		_, _, err := s.OpenBlob(t.Context(), "f4")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Equal(t, []string{"f2", "f0"}, list(store.BlobQuery{Account: "a"}))
	}},
}
