package simulator

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
)

var errMediaTooLarge = fmt.Errorf("%w: too large", ErrMedia)

// mediaPart is a file that is being written. It ends with adopt or discard; calling discard
// after either does nothing.
type mediaPart struct {
	m     *mediaStore
	file  *os.File // nil without a folder, and once closed
	name  string
	buf   bytes.Buffer
	sum   hash.Hash
	size  int64
	limit int64
}

// part begins a file of at most limit bytes.
func (m *mediaStore) part(limit int64) (*mediaPart, error) {
	p := &mediaPart{m: m, sum: sha256.New(), limit: limit}
	if m.dir == "" {
		return p, nil
	}
	file, err := os.CreateTemp(m.dir, mediaPartPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("create media file: %w", err)
	}
	p.file, p.name = file, file.Name()
	return p, nil
}

func (p *mediaPart) Write(data []byte) (int, error) {
	if p.size+int64(len(data)) > p.limit {
		return 0, errMediaTooLarge
	}
	var to io.Writer = &p.buf
	if p.file != nil {
		to = p.file
	}
	n, err := to.Write(data)
	p.sum.Write(data[:n])
	p.size += int64(n)
	return n, err
}

// hash is that of everything written so far.
func (p *mediaPart) hash() mediaHash { return mediaHash(p.sum.Sum(nil)) }

func (p *mediaPart) discard() {
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
	if p.name != "" {
		_ = os.Remove(p.name)
		p.name = ""
	}
	p.buf = bytes.Buffer{}
}

// adopt makes the part a file of the store, held once for the caller.
func (m *mediaStore) adopt(p *mediaPart) (mediaHash, error) {
	defer p.discard()
	if p.file != nil {
		var err error
		if m.sync {
			err = p.file.Sync()
		}
		err = errors.Join(err, p.file.Close())
		p.file = nil
		if err != nil {
			return mediaHash{}, fmt.Errorf("finish media file: %w", err)
		}
	}
	sum := p.hash()
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[sum]; f != nil { // the same content again: one file serves both
		f.refs++
		return sum, nil
	}
	f := &mediaFile{refs: 1, size: p.size}
	if m.dir == "" {
		f.data = p.buf.Bytes()
	} else if err := os.Rename(p.name, m.path(sum)); err != nil {
		return mediaHash{}, fmt.Errorf("finish media file: %w", err)
	} else {
		p.name = ""
	}
	m.files[sum] = f
	return sum, nil
}
