package simulator

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

// ErrUnknownMedia says that the media host has no such file, or no longer.
var ErrUnknownMedia = errors.New("the media host has no such file")

// mediaStore keeps files by their hash, and the links under which the media host serves
// them. A file lives as long as a link or a phone refers to it: a link dies when it
// expires or is deleted, and a phone that kept the file can then upload it anew.
type mediaStore struct {
	dir  string // of the files; empty keeps them in memory
	sync bool

	mu    sync.Mutex // guards what follows; never held while reading or writing content
	files map[mediaHash]*mediaFile
	links map[string]*mediaLink
	swept int64 // when expired links were last looked for, Unix time
}

type mediaHash [32]byte

func (h mediaHash) String() string { return hex.EncodeToString(h[:]) }

type mediaFile struct {
	refs int
	size int64
	data []byte // without a folder
}

// mediaLink is one upload. Its record is media/ID in the journal.
type mediaLink struct {
	ID, Type         string
	Hash             []byte // of the bytes as they are served
	Size             int64
	Created, Expires int64

	doomed bool // being deleted
}

func (l *mediaLink) hash() mediaHash { return mediaHash(l.Hash) }

// mediaDirName is the folder of the files, in [Options].Dir.
const mediaDirName = "media"

// mediaPartPrefix names files that are not complete.
const mediaPartPrefix = "part-"

func newMediaStore(opts Options) *mediaStore {
	m := &mediaStore{sync: opts.Sync, files: map[mediaHash]*mediaFile{}, links: map[string]*mediaLink{}}
	if opts.Dir != "" {
		m.dir = filepath.Join(opts.Dir, mediaDirName)
	}
	return m
}

func (s *Server) loadMedia(parts []string, value []byte) error {
	l := new(mediaLink)
	if err := json.Unmarshal(value, l); err != nil {
		return err
	}
	if len(l.Hash) != len(mediaHash{}) {
		return fmt.Errorf("hash of %d bytes", len(l.Hash))
	}
	s.media.links[parts[1]] = l
	return nil
}

// openMedia brings files and records together once the state is loaded: what a kill left
// behind of unfinished uploads goes, and so does a link whose file the disk lost.
func (s *Server) openMedia() error {
	m := s.media
	if m.dir == "" {
		return nil
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("create media folder: %w", err)
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return fmt.Errorf("list media folder: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("list media folder: %w", err)
		}
		if raw, err := hex.DecodeString(e.Name()); err == nil && len(raw) == len(mediaHash{}) {
			m.files[mediaHash(raw)] = &mediaFile{size: info.Size()}
		}
	}
	b := s.begin()
	for id, l := range m.links {
		if f := m.files[l.hash()]; f != nil && f.size == l.Size {
			f.refs++
			continue
		}
		s.log.Warn("media file is lost", "media", id)
		delete(m.links, id)
		b.del("media/" + id)
	}
	if err = s.journal.commit(b); err != nil {
		return err
	}
	s.restoreKept()
	for _, e := range entries {
		raw, err := hex.DecodeString(e.Name())
		if err == nil && len(raw) == len(mediaHash{}) {
			if f := m.files[mediaHash(raw)]; f.refs > 0 {
				continue
			}
			delete(m.files, mediaHash(raw))
		}
		if err = os.Remove(filepath.Join(m.dir, e.Name())); err != nil {
			return fmt.Errorf("remove orphaned media: %w", err)
		}
	}
	return nil
}

// publish gives a finished file a link, durably, and consumes part.
func (s *Server) publish(part *mediaPart, kind string) (*mediaLink, error) {
	m := s.media
	hash, err := m.adopt(part)
	if err != nil {
		return nil, err
	}
	l, err := s.link(hash, kind)
	m.release(hash)
	return l, err
}

// link gives a file that somebody holds a new link, durably.
func (s *Server) link(hash mediaHash, kind string) (*mediaLink, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, by its contract
	now := s.opts.Clock()
	s.sweepMedia(now)
	m := s.media
	size, ok := m.hold(hash) // the link's own
	if !ok {
		return nil, ErrUnknownMedia
	}
	l := &mediaLink{
		ID: hex.EncodeToString(id[:]), Type: kind, Hash: hash[:], Size: size,
		Created: now.Unix(), Expires: now.Add(s.opts.MediaTTL).Unix(),
	}
	b := s.begin()
	b.putJSON("media/"+l.ID, l)
	if err := s.journal.commit(b); err != nil {
		m.release(hash)
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links[l.ID] = l
	return l, nil
}

// unlink ends links, durably.
func (s *Server) unlink(ids ...string) error {
	m := s.media
	b := s.begin()
	var doomed []*mediaLink
	m.mu.Lock()
	for _, id := range ids {
		if l := m.links[id]; l != nil && !l.doomed {
			l.doomed = true
			doomed = append(doomed, l)
			b.del("media/" + id)
		}
	}
	m.mu.Unlock()
	err := s.journal.commit(b)
	m.mu.Lock()
	for _, l := range doomed {
		if l.doomed = false; err == nil {
			delete(m.links, l.ID)
		}
	}
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("delete media: %w", err)
	}
	for _, l := range doomed {
		m.release(l.hash())
	}
	if len(doomed) == 0 && len(ids) > 0 {
		return ErrUnknownMedia
	}
	return nil
}

// sweepMedia ends the links that have expired. It looks at most once a minute.
func (s *Server) sweepMedia(now time.Time) {
	m := s.media
	t := now.Unix()
	var expired []string
	m.mu.Lock()
	if t-m.swept >= 60 || t < m.swept {
		m.swept = t
		for id, l := range m.links {
			if l.Expires <= t {
				expired = append(expired, id)
			}
		}
	}
	m.mu.Unlock()
	if len(expired) > 0 {
		if err := s.unlink(expired...); err != nil && !errors.Is(err, ErrUnknownMedia) {
			s.log.Error("end expired media", "err", err)
		}
	}
}

func (m *mediaStore) find(id string) (mediaLink, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.links[id]
	if l == nil {
		return mediaLink{}, false
	}
	return *l, true
}

// all returns the links, oldest first.
func (m *mediaStore) all() []mediaLink {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]mediaLink, 0, len(m.links))
	for _, l := range m.links {
		out = append(out, *l)
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Created < out[j].Created || out[i].Created == out[j].Created && out[i].ID < out[j].ID
	})
	return out
}

// hold keeps a file until release; false when there is none.
func (m *mediaStore) hold(hash mediaHash) (size int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[hash]
	if f == nil {
		return 0, false
	}
	f.refs++
	return f.size, true
}

// release undoes one hold; the last one removes the file.
func (m *mediaStore) release(hash mediaHash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[hash]
	if f == nil {
		return
	}
	if f.refs--; f.refs > 0 {
		return
	}
	delete(m.files, hash)
	if m.dir != "" {
		// One that cannot be removed, since somebody still reads it on a system that minds, goes at
		// the next start.
		_ = os.Remove(m.path(hash))
	}
}

func (m *mediaStore) path(hash mediaHash) string { return filepath.Join(m.dir, hash.String()) }

// mediaReader is an open file.
type mediaReader interface {
	io.ReadSeeker
	io.Closer
}

// open returns the content of a file. The caller closes it.
func (m *mediaStore) open(hash mediaHash) (mediaReader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[hash]
	switch {
	case f == nil:
		return nil, ErrUnknownMedia
	case m.dir == "":
		return memoryReader{bytes.NewReader(f.data)}, nil
	}
	file, err := os.Open(m.path(hash))
	if err != nil {
		return nil, fmt.Errorf("open media: %w", err)
	}
	return file, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }
