package mongo

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/wildcathub/wildcat/core/store"
)

// defaultLimit is a page's length where the caller names none.
const defaultLimit = 100

func limitOr(n int) int64 {
	if n <= 0 {
		return defaultLimit
	}
	return int64(n)
}

// stamp is a time as it is stored: none is null.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(trim(t))
}

// trim is a time as it comes back.
func trim(t time.Time) time.Time { return t.Truncate(time.Millisecond).UTC() }

// back reads what stamp wrote.
func back(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// orNow is t, or now if it is not set.
func (s *Store) orNow(t time.Time) time.Time {
	if t.IsZero() {
		return s.now()
	}
	return t
}

// clean makes a text that came from outside one that a server takes.
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// laneOf names a chat of an account. An account's id has no slash.
func laneOf(account, chat string) string { return account + "/" + chat }

// chatRef is the way back.
func chatRef(lane string) store.ChatRef {
	account, chat, _ := strings.Cut(lane, "/")
	return store.ChatRef{Account: account, Chat: chat}
}

// checkAccount refuses an id that would be mistaken for another's in laneOf.
func checkAccount(id string) error {
	if id == "" || strings.Contains(id, "/") {
		return fmt.Errorf("account id %q", id)
	}
	return nil
}

// number is an unsigned number as it is stored. Sequences and epochs do not reach 2^63.
func number(n uint64) int64 { return int64(n) } //nolint:gosec // see above

// unsigned reads what number wrote.
func unsigned(n int64) uint64 { return uint64(n) } //nolint:gosec // see number

// el is one element of a document, doc a document of them: written out, every query
// would be a page long.
func el(key string, value any) bson.E { return bson.E{Key: key, Value: value} }

func doc(elements ...bson.E) bson.D { return append(bson.D{}, elements...) }

func byID(id string) bson.D { return doc(el("_id", id)) }

func in[T any](values []T) bson.D { return doc(el("$in", values)) }

func set(fields ...bson.E) bson.E { return el("$set", bson.D(fields)) }

// positions gives out positions: 14 hex digits of microseconds and 8 that tell the
// processes apart. They grow strictly within a process, and past what it has seen.
type positions struct {
	now  func() time.Time
	tail string
	mu   sync.Mutex
	last int64
}

const posDigits = 14

func newPositions(now func() time.Time) *positions {
	return &positions{now: now, tail: fmt.Sprintf("%08x", rand.Uint32())}
}

func (p *positions) next() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = max(p.last+1, p.now().UnixMicro())
	return fmt.Sprintf("%0*x%s", posDigits, p.last, p.tail)
}

// seen keeps the positions to come above one that was read, whoever gave it out.
func (p *positions) seen(pos string) {
	if len(pos) < posDigits {
		return
	}
	v, err := strconv.ParseInt(pos[:posDigits], 16, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = max(p.last, v)
}

// pair is an entry of a map whose keys come from outside and may hold dots.
type pair struct {
	K string `bson:"k"`
	V string `bson:"v"`
}

// plain tells a text that can be an _id as it is.
func plain(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }
