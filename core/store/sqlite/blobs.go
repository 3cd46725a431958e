package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// chunkSize is the size of a piece in bytes: large enough that rows cost nothing,
	// small enough that a range is served without loading the file.
	chunkSize = 256 << 10
	// maxChunks is the step between two files' pieces in blob_chunks.n.
	maxChunks = 1 << 20
)

// PutBlob implements store.Blobs.
func (s *Store) PutBlob(ctx context.Context, info store.BlobInfo, r io.Reader) (store.BlobInfo, error) {
	out, err := s.putBlob(ctx, info, r, false)
	if err != nil {
		return store.BlobInfo{}, fmt.Errorf("put blob %s: %w", info.ID, err)
	}
	return out, nil
}

// upload is one file on its way in.
type upload struct {
	s        *Store
	info     store.BlobInfo
	meta     string
	internal bool
	n        int64 // the row, 0 before it is written
	chunks   int64
}

func (s *Store) putBlob(ctx context.Context, info store.BlobInfo, r io.Reader, internal bool) (_ store.BlobInfo, err error) {
	if info.ID == "" {
		return info, errors.New("no id")
	}
	if info.CreatedAt.IsZero() {
		info.CreatedAt = s.now()
	}
	info.CreatedAt = fromMS(ms(info.CreatedAt))
	meta, err := json.Marshal(info.Meta)
	if err != nil {
		return info, fmt.Errorf("encode meta: %w", err)
	}
	// An early answer; the unique index has the last word.
	if err := s.r.row(ctx, `SELECT 1 FROM blobs WHERE id = ?`, []any{info.ID}, new(int64)); !noRows(err) {
		if err == nil {
			err = store.ErrExists
		}
		return info, err
	}
	u := &upload{s: s, info: info, meta: string(meta), internal: internal}
	defer func() {
		if err != nil {
			u.discard(context.WithoutCancel(ctx))
		}
	}()
	hash := sha256.New()
	buf := make([]byte, chunkSize)
	u.info.Size = 0
	for {
		n, err := io.ReadFull(r, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return info, fmt.Errorf("read: %w", err)
		}
		hash.Write(buf[:n])
		u.info.Size += int64(n)
		if last {
			u.info.SHA256 = hex.EncodeToString(hash.Sum(nil))
		}
		if err := u.write(ctx, buf[:n], last); err != nil {
			return info, err
		}
		if last {
			return u.info, nil
		}
	}
}

// write stores a piece, with the first one the row, and with the last one the id that
// makes the file visible. A small file is one operation.
func (u *upload) write(ctx context.Context, piece []byte, last bool) error {
	if u.chunks == maxChunks {
		return errors.New("file too large")
	}
	var n int64
	err := u.s.write(ctx, len(piece)+512, func(t *tx) error {
		n = u.n
		if n == 0 {
			accountN, err := t.names.intern(t, u.info.Account)
			if err != nil {
				return err
			}
			_, err = t.returning(`INSERT INTO blobs (account_n, internal, name, mime, size, sha256, created_at, meta)
				VALUES (?, ?, ?, ?, 0, '', ?, ?) RETURNING n`,
				[]any{accountN, u.internal, u.info.Name, u.info.MIME, ms(u.info.CreatedAt), u.meta}, &n)
			if err != nil {
				return err
			}
		}
		if len(piece) > 0 {
			if _, err := t.exec(`INSERT INTO blob_chunks (n, data) VALUES (?, ?)`, n*maxChunks+u.chunks, piece); err != nil {
				return err
			}
		}
		if !last {
			return nil
		}
		changed, err := t.exec(`UPDATE blobs SET id = ?, size = ?, sha256 = ? WHERE n = ?`, u.info.ID, u.info.Size, u.info.SHA256, n)
		if isUnique(err) {
			return store.ErrExists
		}
		if err == nil && changed == 0 {
			err = fmt.Errorf("upload was removed: %w", store.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return err
	}
	u.n, u.chunks = n, u.chunks+1
	return nil
}

// discard removes what an upload that failed has written; what a crash leaves goes at
// the next Open.
func (u *upload) discard(ctx context.Context) {
	if u.n == 0 {
		return
	}
	if err := u.s.write(ctx, 0, func(t *tx) error { return removeBlob(t, u.n) }); err != nil {
		u.s.log.Warn("unfinished upload could not be removed", "err", err)
	}
}

func removeBlob(t *tx, n int64) error {
	if _, err := t.exec(`DELETE FROM blob_chunks WHERE n >= ? AND n < ?`, n*maxChunks, (n+1)*maxChunks); err != nil {
		return err
	}
	_, err := t.exec(`DELETE FROM blobs WHERE n = ?`, n)
	return err
}

// sweepBlobs removes, at Open, uploads that a crash cut short and bodies whose event
// was never appended.
func sweepBlobs(t *tx) error {
	var ns []int64
	err := t.query(`SELECT n FROM blobs WHERE id IS NULL
		UNION SELECT n FROM blobs b WHERE b.internal = 1 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.body_blob = b.id)`, nil,
		func(row []any) error {
			ns = append(ns, row[0].(int64))
			return nil
		})
	if err != nil {
		return err
	}
	for _, n := range ns {
		if err := removeBlob(t, n); err != nil {
			return err
		}
	}
	return nil
}

const selectBlob = `SELECT n, id, account_n, name, mime, size, sha256, created_at, meta FROM blobs `

func (s *Store) scanBlob(scan func(...any) error) (info store.BlobInfo, n int64, err error) {
	var accountN int64
	var created dbTime
	var meta string
	if err := scan(&n, &info.ID, &accountN, &info.Name, &info.MIME, &info.Size, &info.SHA256, &created, &meta); err != nil {
		return info, 0, err
	}
	info.Account, info.CreatedAt = s.names.name(accountN), created.Time
	if err := json.Unmarshal([]byte(meta), &info.Meta); err != nil {
		return info, 0, fmt.Errorf("blob %s: decode meta: %w", info.ID, err)
	}
	return info, n, nil
}

// ListBlobs implements store.Blobs.
func (s *Store) ListBlobs(ctx context.Context, q store.BlobQuery) ([]store.BlobInfo, error) {
	meta := []byte("{}")
	if len(q.Meta) > 0 {
		var err error
		if meta, err = json.Marshal(q.Meta); err != nil {
			return nil, fmt.Errorf("list blobs: %w", err)
		}
	}
	// No asked-for pair may be missing.
	where := `WHERE id IS NOT NULL AND internal = 0 AND NOT EXISTS (
		SELECT 1 FROM json_each(?) want WHERE NOT EXISTS (
			SELECT 1 FROM json_each(blobs.meta) have WHERE have.key = want.key AND have.value = want.value))`
	args := []any{string(meta)}
	if q.Account != "" {
		accountN, ok := s.names.find(q.Account)
		if !ok {
			return nil, nil
		}
		where += ` AND account_n = ?`
		args = append(args, accountN)
	}
	if len(q.Accounts) > 0 {
		in, ns := s.among(`account_n`, q.Accounts)
		where += ` AND ` + in
		args = append(args, ns...)
	}
	var out []store.BlobInfo
	err := s.r.each(ctx, selectBlob+where+` ORDER BY n DESC LIMIT ? OFFSET ?`,
		append(args, limitOr(q.Limit), max(q.Offset, 0)), func(scan func(...any) error) error {
			info, _, err := s.scanBlob(scan)
			out = append(out, info)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", err)
	}
	return out, nil
}

// DeleteBlob implements store.Blobs.
func (s *Store) DeleteBlob(ctx context.Context, id string) error {
	err := s.write(ctx, 0, func(t *tx) error {
		var n int64
		found, err := t.row(`SELECT n FROM blobs WHERE id = ? AND internal = 0`, []any{id}, &n)
		if err != nil || !found {
			return err
		}
		return removeBlob(t, n)
	})
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", id, err)
	}
	return nil
}
