package simulator

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Errors of snapshots.
var (
	// ErrSnapshot says that what was read is no snapshot, or not all of one.
	ErrSnapshot = errors.New("not a complete snapshot of a sandbox")
	// ErrNotEmpty says that the folder that a snapshot was to be restored into has a state.
	ErrNotEmpty = errors.New("the sandbox's data folder is not empty")
)

// A snapshot is a line that names the format and then records as in the journal: length,
// checksum, payload. A payload is the puts of some keys (kind 1, exactly the journal's), the hash
// of a media file (kind 3), a part of that file's content (kind 4), or the end (kind 5), which
// counts the records before it.
const (
	snapshotMagic = "wildcat sandbox snapshot 1\n"
	snapshotPut   = 1
	snapshotFile  = 3
	snapshotPart  = 4
	snapshotEnd   = 5

	snapshotPartLen = 1 << 20
	snapshotMaxLen  = 1 << 30 // of a record, to recognize what is none
)

// Snapshot writes the whole state: keys, accounts, companions, sessions, queues, what phones
// hold, the media host's files. It is the state of one instant, as a kill then would leave it,
// and may be taken while the server runs. With [Options].Snapshot another server starts from it:
// paired devices that then connect there go on where they were. Whoever holds a snapshot can act
// as every phone in it.
func (s *Server) Snapshot(w io.Writer) error {
	// Before and after, since files come and go: what has a link at the instant is among them.
	held := s.media.holdAll()
	values, err := s.journal.values()
	held = append(held, s.media.holdAll()...)
	defer func() {
		for _, hash := range held {
			s.media.release(hash)
		}
	}()
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	out := &snapshotWriter{w: bufio.NewWriterSize(w, 1<<16)}
	out.raw([]byte(snapshotMagic))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		b := new(batch)
		b.put(key, values[key])
		out.record(b.buf)
	}
	files := slices.Clone(held)
	slices.SortFunc(files, func(a, b mediaHash) int { return bytes.Compare(a[:], b[:]) })
	for _, hash := range slices.Compact(files) {
		if err = s.writeMedia(out, hash); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
	}
	out.record(binary.LittleEndian.AppendUint64([]byte{snapshotEnd}, out.records))
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil {
		return fmt.Errorf("write snapshot: %w", out.err)
	}
	return nil
}

func (s *Server) writeMedia(out *snapshotWriter, hash mediaHash) error {
	file, err := s.media.open(hash)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	out.record(append([]byte{snapshotFile}, hash[:]...))
	part := make([]byte, 1+snapshotPartLen)
	part[0] = snapshotPart
	for out.err == nil {
		n, err := io.ReadFull(file, part[1:])
		if n > 0 {
			out.record(part[:1+n])
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read media: %w", err)
		}
	}
	return nil
}

type snapshotWriter struct {
	w       *bufio.Writer
	records uint64
	err     error
}

func (o *snapshotWriter) raw(data []byte) {
	if o.err == nil {
		_, o.err = o.w.Write(data)
	}
}

func (o *snapshotWriter) record(payload []byte) {
	o.raw(appendRecord(nil, payload))
	o.records++
}

// Restore puts the state of a snapshot into a data folder, which must hold none, for a
// server that is started over it later.
func Restore(dir string, r io.Reader) error {
	s, err := New(Options{Dir: dir, Snapshot: r})
	if err != nil {
		return err
	}
	return s.Close()
}

// open reads the state: of the folder, of a snapshot, or none.
func (s *Server) open() (failed error) {
	var values map[string][]byte
	if s.opts.Dir == "" {
		s.journal = openMemory()
	} else {
		var err error
		if s.journal, values, err = openJournal(s.opts.Dir, s.opts.Sync); err != nil {
			return err
		}
	}
	var held []mediaHash
	if from := s.opts.Snapshot; from != nil {
		s.opts.Snapshot = nil
		if len(values) > 0 {
			return fmt.Errorf("%s: %w", s.opts.Dir, ErrNotEmpty)
		}
		var err error
		if values, held, err = s.restore(from); err != nil {
			return s.undo(err)
		}
		defer func() {
			if failed != nil {
				failed = s.undo(failed)
			}
		}()
	}
	if err := s.load(values); err != nil {
		return err
	}
	if err := s.openMedia(); err != nil {
		return err
	}
	s.settleMedia(held)
	return nil
}

// undo takes out of the folder what a restore that failed put there: there was no state before,
// and so the next one finds none.
func (s *Server) undo(failed error) error {
	if s.opts.Dir == "" {
		return failed
	}
	failed = errors.Join(failed, s.journal.close())
	for _, name := range []string{s.journal.path, filepath.Join(s.opts.Dir, lockName)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("undo restore: %w", err))
		}
	}
	if err := os.RemoveAll(s.media.dir); err != nil {
		failed = errors.Join(failed, fmt.Errorf("undo restore: %w", err))
	}
	return failed
}

// restore reads a snapshot and makes it this server's state, durably, once all of it is read.
func (s *Server) restore(r io.Reader) (map[string][]byte, []mediaHash, error) {
	if s.media.dir != "" {
		if err := os.MkdirAll(s.media.dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("create media folder: %w", err)
		}
	}
	in := &snapshotReader{r: bufio.NewReaderSize(r, 1<<16), media: s.media, limit: s.opts.MediaLimit, values: map[string][]byte{}}
	in.replay.index = map[string]place{}
	defer in.drop()
	if err := in.read(); err != nil {
		return nil, nil, fmt.Errorf("restore snapshot: %w", err)
	}
	b := s.begin()
	for key, value := range in.values {
		b.put(key, value)
	}
	if err := s.journal.commit(b); err != nil {
		return nil, nil, fmt.Errorf("restore snapshot: %w", err)
	}
	return in.values, in.held, nil
}

type snapshotReader struct {
	r      *bufio.Reader
	media  *mediaStore
	limit  int64
	values map[string][]byte
	replay journal // only decodes
	held   []mediaHash

	want mediaHash // of part
	part *mediaPart
}

func (in *snapshotReader) read() error {
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in.r, magic); err != nil || string(magic) != snapshotMagic {
		return ErrSnapshot
	}
	for count := uint64(0); ; count++ {
		payload, err := in.record()
		if err != nil {
			return err
		}
		switch payload[0] {
		case snapshotPut:
			if !in.replay.apply(payload, in.values) {
				return ErrSnapshot
			}
		case snapshotFile:
			if err = in.begin(payload[1:]); err != nil {
				return err
			}
		case snapshotPart:
			if in.part == nil {
				return ErrSnapshot
			}
			if _, err = in.part.Write(payload[1:]); err != nil {
				return fmt.Errorf("media: %w", err)
			}
		case snapshotEnd:
			if len(payload) != 9 || binary.LittleEndian.Uint64(payload[1:]) != count || in.values["server"] == nil {
				return ErrSnapshot
			}
			return in.finish()
		default:
			return ErrSnapshot
		}
	}
}

func (in *snapshotReader) record() ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(in.r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	size := binary.LittleEndian.Uint32(head[:4])
	if size == 0 || size > snapshotMaxLen {
		return nil, ErrSnapshot
	}
	// Not all at once: what claims to be large may be no snapshot at all.
	var payload bytes.Buffer
	if _, err := io.CopyN(&payload, in.r, int64(size)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if crc32.ChecksumIEEE(payload.Bytes()) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, ErrSnapshot
	}
	return payload.Bytes(), nil
}

func (in *snapshotReader) begin(hash []byte) error {
	if len(hash) != sha256.Size {
		return ErrSnapshot
	}
	if err := in.finish(); err != nil {
		return err
	}
	part, err := in.media.part(in.limit)
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	in.want, in.part = mediaHash(hash), part
	return nil
}

// finish takes the file that was read.
func (in *snapshotReader) finish() error {
	if in.part == nil {
		return nil
	}
	if in.part.hash() != in.want {
		return ErrSnapshot
	}
	hash, err := in.media.adopt(in.part)
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	in.part = nil
	in.held = append(in.held, hash)
	return nil
}

func (in *snapshotReader) drop() {
	if in.part != nil {
		in.part.discard()
	}
}
