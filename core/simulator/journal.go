package simulator

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/gofrs/flock"
)

// compactAbove is the size at which a journal that is mostly dead is rewritten.
const compactAbove = 64 << 20

// ErrDamaged says that the data folder's file cannot be read in the middle.
var ErrDamaged = errors.New("the sandbox's journal is damaged")

// ErrDirInUse says that another process holds the data folder.
var ErrDirInUse = errors.New("the sandbox's data folder is in use by another process")

// batch is a set of changes that become durable together, or not at all. A nil
// batch takes changes and forgets them.
type batch struct {
	buf  []byte
	ops  []op
	done bool
	err  error
}

type op struct {
	key     string
	at, len int // of the value, in buf; len -1 deletes
}

// off says that nothing is kept, so that encoding a value is wasted work.
func (b *batch) off() bool { return b == nil }

func (b *batch) put(key string, value []byte) {
	if b == nil {
		return
	}
	b.buf = append(b.buf, 1)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(key)))
	b.buf = append(b.buf, key...)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(value)))
	b.ops = append(b.ops, op{key, len(b.buf), len(value)})
	b.buf = append(b.buf, value...)
}

func (b *batch) del(key string) {
	if b == nil {
		return
	}
	b.buf = append(b.buf, 2)
	b.buf = binary.AppendUvarint(b.buf, uint64(len(key)))
	b.buf = append(b.buf, key...)
	b.ops = append(b.ops, op{key, 0, -1})
}

// journal is a map from keys to values in one append-only file: a record per batch,
// a checksum per record, and an index in memory of where the newest value of each key
// lies. It survives the kill of the process at any instant, since a batch counts once
// its write returned; it survives the loss of power only with sync set.
type journal struct {
	path string
	lock *flock.Flock
	sync bool

	// memory is everything, in a journal without a file; mu guards it. Else nil.
	memory map[string][]byte

	mu    sync.Mutex // guards queue, busy and the fields of batches
	cond  *sync.Cond
	queue []*batch
	busy  bool

	// Below: of whoever set busy.
	file  *os.File
	size  int64
	live  int64
	index map[string]place
	err   error
}

type place struct {
	at  int64
	len int
}

// openJournal opens or creates the journal in dir and returns it with all that it
// holds. A record torn by a kill at the end of the file is cut off: its batch never counted.
// lockName is the file by whose lock a data folder has one server.
const lockName = "sandbox.lock"

func openJournal(dir string, syncWrites bool) (*journal, map[string][]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("create data folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockName))
	if ok, err := lock.TryLock(); err != nil {
		return nil, nil, fmt.Errorf("lock data folder: %w", err)
	} else if !ok {
		return nil, nil, fmt.Errorf("%s: %w", dir, ErrDirInUse)
	}
	j := &journal{path: filepath.Join(dir, "sandbox.journal"), lock: lock, sync: syncWrites, index: map[string]place{}}
	j.cond = sync.NewCond(&j.mu)
	values, err := j.open()
	if err != nil {
		_ = lock.Unlock()
		return nil, nil, fmt.Errorf("open %s: %w", j.path, err)
	}
	return j, values, nil
}

func (j *journal) open() (map[string][]byte, error) {
	file, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	r := bufio.NewReaderSize(file, 1<<20)
	for {
		var head [8]byte
		if _, err = io.ReadFull(r, head[:]); err != nil {
			break
		}
		payload := make([]byte, binary.LittleEndian.Uint32(head[:4]))
		if _, err = io.ReadFull(r, payload); err != nil {
			break
		}
		if crc32.ChecksumIEEE(payload) != binary.LittleEndian.Uint32(head[4:]) || !j.apply(payload, values) {
			err = io.ErrUnexpectedEOF
			break
		}
		j.size += int64(len(head) + len(payload))
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		_ = file.Close()
		return nil, err
	}
	if err = j.torn(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	if err = file.Truncate(j.size); err == nil {
		_, err = file.Seek(j.size, io.SeekStart)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	j.file = file
	return values, nil
}

// torn makes sure that what cannot be read is the end of the file, which a kill tore off. If
// records follow it the file is damaged, and to cut it off would lose them.
func (j *journal) torn(file *os.File) error {
	st, err := file.Stat()
	if err != nil || st.Size() <= j.size {
		return err
	}
	rest := make([]byte, st.Size()-j.size)
	if _, err = file.ReadAt(rest, j.size); err != nil {
		return err
	}
	for at := 1; at+8 < len(rest); at++ {
		n, sum := binary.LittleEndian.Uint32(rest[at:]), binary.LittleEndian.Uint32(rest[at+4:])
		if n == 0 || n > uint32(len(rest)-at-8) || n > 64<<10 { // most records are short, and a length at random hardly ever is
			continue
		}
		if kind := rest[at+8]; (kind == 1 || kind == 2) && crc32.ChecksumIEEE(rest[at+8:at+8+int(n)]) == sum {
			return fmt.Errorf("%w: at byte %d, with whole records after it; restore a snapshot into another folder, or move this file away to begin anew", ErrDamaged, j.size)
		}
	}
	return nil
}

// apply replays one record that starts at the current size; false means that it is malformed.
func (j *journal) apply(payload []byte, values map[string][]byte) bool {
	for at := 0; at < len(payload); {
		kind := payload[at]
		at++
		n, w := binary.Uvarint(payload[at:])
		if w <= 0 || n > uint64(len(payload)-at-w) {
			return false
		}
		at += w
		key := string(payload[at : at+int(n)])
		at += int(n)
		if kind == 2 {
			delete(values, key)
			j.forget(key)
			continue
		}
		n, w = binary.Uvarint(payload[at:])
		if w <= 0 || n > uint64(len(payload)-at-w) {
			return false
		}
		at += w
		values[key] = payload[at : at+int(n)]
		j.remember(key, place{j.size + 8 + int64(at), int(n)})
		at += int(n)
	}
	return true
}

func (j *journal) remember(key string, p place) {
	j.forget(key)
	j.index[key] = p
	j.live += int64(len(key) + p.len)
}

func (j *journal) forget(key string) {
	if old, ok := j.index[key]; ok {
		j.live -= int64(len(key) + old.len)
		delete(j.index, key)
	}
}

// commit makes b durable and returns. Calls from many goroutines are written
// together: whoever finds nobody writing writes for all that wait. Callers keep two
// commits of one key in order by holding the lock that guards it until commit returns.
func (j *journal) commit(b *batch) error {
	if j == nil || b == nil || len(b.ops) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.memory != nil {
		return j.remind(b)
	}
	j.queue = append(j.queue, b)
	for !b.done && j.busy {
		j.cond.Wait()
	}
	if b.done {
		return b.err
	}
	j.busy = true
	taken := j.queue
	j.queue = nil
	j.mu.Unlock()
	err := j.write(taken)
	j.mu.Lock()
	for _, t := range taken {
		t.done, t.err = true, err
	}
	j.busy = false
	j.cond.Broadcast()
	return err
}

// write appends the batches as one record each, in one call. After an error the
// journal refuses everything: what the file holds is then unknown.
func (j *journal) write(batches []*batch) error {
	if j.err != nil {
		return j.err
	}
	var out []byte
	for _, b := range batches {
		out = appendRecord(out, b.buf)
	}
	if _, err := j.file.Write(out); err != nil {
		j.err = fmt.Errorf("write journal: %w", err)
		return j.err
	}
	if j.sync {
		if err := j.file.Sync(); err != nil {
			j.err = fmt.Errorf("sync journal: %w", err)
			return j.err
		}
	}
	for _, b := range batches {
		for _, o := range b.ops {
			if o.len < 0 {
				j.forget(o.key)
			} else {
				j.remember(o.key, place{j.size + 8 + int64(o.at), o.len})
			}
		}
		j.size += int64(8 + len(b.buf))
	}
	if j.size > compactAbove && j.live < j.size/3 {
		if err := j.compact(); err != nil {
			j.err = fmt.Errorf("compact journal: %w", err)
			return j.err
		}
	}
	return nil
}

func appendRecord(out, payload []byte) []byte {
	out = binary.LittleEndian.AppendUint32(out, uint32(len(payload)))
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(payload))
	return append(out, payload...)
}

// compact copies what is alive into a new file and puts that in place of the old one.
func (j *journal) compact() error {
	next, err := os.OpenFile(j.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	old, oldIndex := j.file, j.index
	w := bufio.NewWriterSize(next, 1<<20)
	j.index, j.size, j.live = make(map[string]place, len(oldIndex)), 0, 0
	for key, p := range oldIndex {
		value := make([]byte, p.len)
		if _, err = old.ReadAt(value, p.at); err != nil {
			break
		}
		b := new(batch)
		b.put(key, value)
		if _, err = w.Write(appendRecord(nil, b.buf)); err != nil {
			break
		}
		j.remember(key, place{j.size + 8 + int64(b.ops[0].at), p.len})
		j.size += int64(8 + len(b.buf))
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = next.Sync()
	}
	if err != nil {
		return errors.Join(err, next.Close())
	}
	// The old file is closed first: some systems refuse to replace one that is open.
	if err = errors.Join(old.Close(), next.Close(), os.Rename(j.path+".new", j.path)); err != nil {
		return err
	}
	j.file, err = os.OpenFile(j.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = j.file.Seek(j.size, io.SeekStart)
	return err
}

// close waits for writers, closes the file and gives the folder free. Commits after it fail.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.busy {
		j.cond.Wait()
	}
	if j.memory != nil {
		j.err = os.ErrClosed
	}
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Close(), j.lock.Unlock())
	j.file = nil
	j.err = os.ErrClosed
	return err
}

// keysUnder returns the keys of values that start with prefix, sorted.
func keysUnder(values map[string][]byte, prefix string) []string {
	var keys []string
	for key := range values {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}
