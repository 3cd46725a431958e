package rules

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/core/store"
)

const (
	namespace = "hub/rules"
	recordKey = "record"
	// keep is how many versions are kept with their files.
	keep = 10
	// keepNames is how many more are known by name, so that a hub that starts with very old
	// files is not taken for one with new ones.
	keepNames = 100
	// leastPrefix is how much of a version's name has to be given.
	leastPrefix = 4
)

// Why a version came into force.
const (
	CauseStart    = "start"
	CauseReload   = "reload"
	CauseRollback = "rollback"
)

// ErrNoVersion says that there is no such version, or none to go back to.
var ErrNoVersion = errors.New("no such version of the rules")

// ErrAmbiguous says that more than one version begins like that.
var ErrAmbiguous = errors.New("more than one version of the rules begins like that")

// Version is rules that are or were in force.
type Version struct {
	// Version is lua.Bundle's: a hash of the content.
	Version string `json:"version"`
	// Number grows by one with every change, on all hubs together. It is that of the last
	// time that this version came into force.
	Number uint64 `json:"number"`
	// At is when that was, and Hub names the one where it was asked for; "" for the only one.
	At  time.Time `json:"at"`
	Hub string    `json:"hub,omitempty"`
	// Cause is one of the Cause constants.
	Cause string `json:"cause"`
	// Rules is how many there are in it.
	Rules int `json:"rules"`
	// Row is the key under which its files are kept. Every publication has one of its own:
	// who drops a version removes nothing that another hub has just begun to use.
	Row string `json:"row"`
}

// attrs are what a log line says of it. A hub that is the only one has no name to give.
func (v Version) attrs() []any {
	out := []any{"version", v.Version, "number", v.Number, "cause", v.Cause}
	if v.Hub != "" {
		out = append(out, "hub", v.Hub)
	}
	return out
}

// record is what is stored of all versions.
type record struct {
	// Versions are the newest first: the first one is in force.
	Versions []Version `json:"versions"`
	// Older are names of versions that were dropped, the newest first.
	Older []string `json:"older,omitempty"`
}

// top is the version in force; the zero one if there never was any.
func (r record) top() Version {
	if len(r.Versions) == 0 {
		return Version{}
	}
	return r.Versions[0]
}

func (r record) find(version string) (Version, bool) {
	i := slices.IndexFunc(r.Versions, func(v Version) bool { return v.Version == version })
	if i < 0 {
		return Version{}, false
	}
	return r.Versions[i], true
}

// kept says whether a version's files are there.
func (r record) kept(version string) bool {
	_, found := r.find(version)
	return found
}

// known says whether a version is or ever was in force, as far as is remembered.
func (r record) known(version string) bool {
	_, found := r.find(version)
	return found || slices.Contains(r.Older, version)
}

// resolve finds a version by the beginning of its name; "" is the one before the present.
func (r record) resolve(prefix string) (Version, error) {
	if prefix == "" {
		if len(r.Versions) < 2 {
			return Version{}, fmt.Errorf("%w: there was none before the present one", ErrNoVersion)
		}
		return r.Versions[1], nil
	}
	var found []Version
	for _, v := range r.Versions {
		if strings.HasPrefix(v.Version, prefix) {
			found = append(found, v)
		}
	}
	switch {
	case len(prefix) < leastPrefix || len(found) == 0:
		return Version{}, fmt.Errorf("%w: %q", ErrNoVersion, prefix)
	case len(found) > 1:
		return Version{}, fmt.Errorf("%w: %q", ErrAmbiguous, prefix)
	}
	return found[0], nil
}

// with returns the record with v in force, and the rows that are not needed any more.
func (r record) with(v Version) (next record, dropped []string) {
	next.Versions = append(next.Versions, v)
	for _, old := range r.Versions {
		if old.Version != v.Version {
			next.Versions = append(next.Versions, old)
		}
	}
	next.Older = slices.DeleteFunc(slices.Clone(r.Older), func(name string) bool { return name == v.Version })
	for len(next.Versions) > keep {
		last := next.Versions[len(next.Versions)-1]
		next.Versions = next.Versions[:len(next.Versions)-1]
		next.Older = slices.Insert(next.Older, 0, last.Version)
		dropped = append(dropped, last.Row)
	}
	next.Older = next.Older[:min(len(next.Older), keepNames)]
	return next, dropped
}

// history is what the store knows of the versions.
type history struct {
	kv   store.KV
	hub  string
	now  func() time.Time
	rand io.Reader
}

// read returns the record, and its form in the store to swap it by; nil if there is none.
func (h *history) read(ctx context.Context) (record, []byte, error) {
	var rec record
	stored, err := h.kv.GetKV(ctx, namespace, recordKey)
	if errors.Is(err, store.ErrNotFound) {
		return rec, nil, nil
	}
	if err != nil {
		return rec, nil, fmt.Errorf("read which rules are in force: %w", err)
	}
	if err := json.Unmarshal(stored, &rec); err != nil {
		return rec, nil, fmt.Errorf("the record of which rules are in force (kv: namespace %s, key %s) is damaged; once it is deleted, those of the configuration come into force: %w",
			namespace, recordKey, err)
	}
	return rec, stored, nil
}

// bundle reads the files of a version.
func (h *history) bundle(ctx context.Context, v Version) (*lua.Bundle, error) {
	packed, err := h.kv.GetKV(ctx, namespace, v.Row)
	if errors.Is(err, store.ErrNotFound) { // dropped since the record was read, or lost
		return nil, &loadError{fmt.Errorf("read rules %s: the database has them no more", v.Version)}
	}
	if err != nil {
		return nil, fmt.Errorf("read rules %s: %w", v.Version, err)
	}
	b, err := lua.DecodeBundle(packed)
	if err == nil && b.Version() != v.Version {
		err = fmt.Errorf("they are not what they were stored as (%s): another version of the program may have written them", b.Version())
	}
	if err != nil {
		return nil, &loadError{fmt.Errorf("read rules %s: %w", v.Version, err)}
	}
	return b, nil
}

// publish puts a bundle into force unless the record has changed since it was read, which
// is store.ErrStale. After any other error nobody knows whether it is in force.
func (h *history) publish(ctx context.Context, rec record, stored []byte, b *lua.Bundle, cause string) (Version, error) {
	v := Version{
		Version: b.Version(), Number: rec.top().Number + 1, At: h.now().UTC().Truncate(time.Millisecond),
		Hub: h.hub, Cause: cause, Rules: len(b.Rules),
	}
	old, there := rec.find(v.Version)
	again, err := h.sound(ctx, old, there)
	if err != nil {
		return v, err
	}
	if v.Row = old.Row; !again {
		// What a crash leaves behind between the two writes is one row that nobody reads.
		nonce := make([]byte, 8)
		if _, err := io.ReadFull(h.rand, nonce); err != nil {
			return v, fmt.Errorf("name a version of the rules: %w", err)
		}
		v.Row = v.Version + "/" + hex.EncodeToString(nonce)
		packed, err := b.Encode()
		if err == nil {
			err = h.kv.SetKV(ctx, namespace, v.Row, packed, 0)
		}
		if err != nil {
			return v, fmt.Errorf("store rules %s: %w", v.Version, err)
		}
	}
	next, dropped := rec.with(v)
	if there && !again {
		dropped = append(dropped, old.Row)
	}
	text, err := json.Marshal(next)
	if err == nil {
		err = h.kv.SwapKV(ctx, namespace, recordKey, stored, text)
	}
	if errors.Is(err, store.ErrStale) {
		dropped = h.unused(ctx, v.Row)
	}
	if err == nil || errors.Is(err, store.ErrStale) {
		for _, row := range dropped {
			_ = h.kv.SetKV(ctx, namespace, row, nil, 0) // a row that stays is not read
		}
	}
	if err != nil {
		return v, fmt.Errorf("put rules %s into force: %w", v.Version, err)
	}
	return v, nil
}

// unused returns a row that no version has. One may have it although the swap that named it
// missed: an answer was lost, and the repetition found another hub's record.
func (h *history) unused(ctx context.Context, row string) []string {
	rec, _, err := h.read(ctx)
	if err != nil || slices.ContainsFunc(rec.Versions, func(v Version) bool { return v.Row == row }) {
		return nil
	}
	return []string{row}
}

// sound says whether the files of a version that is kept can be used once more: if they were
// lost or damaged, who has them stores them anew.
func (h *history) sound(ctx context.Context, v Version, there bool) (bool, error) {
	if !there {
		return false, nil
	}
	_, err := h.bundle(ctx, v)
	if Unusable(err) {
		return false, nil
	}
	return err == nil, err
}

// loadError says that rules cannot be used by this program, now or later.
type loadError struct{ err error }

func (e *loadError) Error() string { return e.err.Error() }
func (e *loadError) Unwrap() error { return e.err }

// Unusable says that an error is about rules that this program cannot load, and that its
// text is theirs.
func Unusable(err error) bool { return errors.As(err, new(*loadError)) }
