package migrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/devices/rows"
	"github.com/wildcathub/wildcat/core/store"
)

// Report compares the two sides.
type Report struct {
	Lines []Line
	// Unowned are devices in the source that no account has. They are not copied.
	Unowned []string
	// Before: the move was finished by an earlier run, and nothing was copied.
	Before bool
}

// Line is one kind of what is stored.
type Line struct {
	Kind             string
	Source, Target   int
	SourceHash, Hash string // SHA-256 in hex; Hash is the target's
}

// Equal tells whether the line's sides are the same.
func (l Line) Equal() bool { return l.Source == l.Target && l.SourceHash == l.Hash }

// Equal tells whether all lines are.
func (r Report) Equal() bool {
	return !slices.ContainsFunc(r.Lines, func(l Line) bool { return !l.Equal() })
}

// soon: what runs out within this time is not compared, since it may run out between one
// side's turn and the other's.
const soon = time.Hour

func (m *move) compare(ctx context.Context) (Report, error) {
	var report Report
	until := m.opts.Now().Add(soon)
	for _, k := range store.Kinds() {
		if k == store.KindLeases { // what is in the target is higher, so that it can go on
			continue
		}
		var of [2]digest
		for i, s := range []*Side{m.from, m.to} {
			of[i].ordered = k.Ordered()
			if err := m.digestKind(ctx, s, k, until, &of[i]); err != nil {
				return report, err
			}
		}
		report.Lines = append(report.Lines, line(string(k), of))
	}
	ids := [2][]string{}
	for i, s := range []*Side{m.from, m.to} {
		all, err := s.Keys.List(ctx)
		if err != nil {
			return report, err
		}
		for _, id := range all {
			if _, owned := m.owners[id]; owned || i == 1 {
				ids[i] = append(ids[i], id)
			} else {
				report.Unowned = append(report.Unowned, id)
			}
		}
	}
	for _, t := range rows.Tables() {
		var of [2]digest
		for i, s := range []*Side{m.from, m.to} {
			from := ids[i]
			if t.Name == rows.LIDs {
				from = []string{""}
			}
			for _, id := range from {
				err := s.Keys.ExportKeys(ctx, id, t, func(r rows.Row) error { return of[i].add(r) })
				if err := errors.Join(err, m.touch(ctx)); err != nil {
					return report, err
				}
			}
		}
		report.Lines = append(report.Lines, line("keys: "+t.Name, of))
	}
	return report, nil
}

func line(kind string, of [2]digest) Line {
	return Line{
		Kind: kind, Source: of[0].n, Target: of[1].n, SourceHash: hex.EncodeToString(of[0].sum[:]), Hash: hex.EncodeToString(of[1].sum[:]),
	}
}

func (m *move) digestKind(ctx context.Context, s *Side, k store.Kind, until time.Time, d *digest) error {
	return each(ctx, s.Store, k, func(records []any) error {
		if err := m.touch(ctx); err != nil {
			return err
		}
		for _, r := range moved(records) {
			switch x := r.(type) {
			case store.KVRecord:
				if !x.Expires.IsZero() && x.Expires.Before(until) {
					continue
				}
			case store.BlobInfo:
				sum, err := m.contentHash(ctx, s, x.ID)
				if err != nil {
					return err
				}
				r = []any{x, sum}
			}
			if err := d.add(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// contentHash reads a file.
func (m *move) contentHash(ctx context.Context, s *Side, id string) (string, error) {
	f, _, err := s.Store.OpenBlob(ctx, id)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, &alive{Reader: f, touch: func() error { return errors.Join(ctx.Err(), m.touch(ctx)) }})
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// digest counts and hashes records: each after the other where their order counts, and
// else so that the order does not.
type digest struct {
	ordered bool
	n       int
	sum     [sha256.Size]byte
}

func (d *digest) add(record any) error {
	b, err := canonical(record)
	if err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	d.n++
	if d.ordered {
		d.sum = sha256.Sum256(append(d.sum[:], b...))
		return nil
	}
	for i, x := range sha256.Sum256(b) {
		d.sum[i] ^= x
	}
	return nil
}

// canonical is a record as JSON without what the engines do not tell apart: empty and
// null, and what one of them replaces in a text.
func canonical(record any) ([]byte, error) {
	b, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(plain(v))
}

func plain(v any) any {
	switch v := v.(type) {
	case string:
		v = strings.ReplaceAll(v, "\x00", "\uFFFD")
		for strings.Contains(v, "\uFFFD\uFFFD") {
			v = strings.ReplaceAll(v, "\uFFFD\uFFFD", "\uFFFD")
		}
		if v == "" {
			return nil
		}
		return v
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	case map[string]any:
		for k := range v {
			if v[k] = plain(v[k]); v[k] == nil {
				delete(v, k)
			}
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}
