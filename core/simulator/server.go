package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/libsignal/logger"

	"go.mau.fi/whatsmeow/util/keys"
)

// Errors that callers tell apart.
var (
	// ErrNotLoopback refuses an address that other machines could reach: whoever
	// reaches the simulator may act as every phone.
	ErrNotLoopback = errors.New("the sandbox listens on, and is reached at, a loopback address only")
	// ErrNumber says that a number is not 5 to 15 digits.
	ErrNumber = errors.New("not a phone number")
	// ErrNumberTaken says that a phone with the number exists.
	ErrNumberTaken = errors.New("number is taken")
	// ErrUnknownNumber says that no phone has the number.
	ErrUnknownNumber = errors.New("no phone has this number")
	// ErrClosed says that the server was closed.
	ErrClosed = errors.New("sandbox is closed")
)

// Options of a [Server]. The zero value is a server in memory.
type Options struct {
	// Dir keeps the state: keys, accounts, sessions, queues, what phones received.
	// Empty keeps it in memory. One process at a time may use a folder.
	Dir string
	// Sync makes every write reach the disk before it counts, so that the state also
	// survives the loss of power. Without it, it survives the kill of the process.
	Sync bool
	// Root is the private half of the key that clients trust, for tests that run several
	// servers in one process; whatsmeow's trusted key is process-wide. Nil makes one, or
	// reads the one in Dir, which always wins.
	Root *[32]byte
	// Logger gets what happens, without texts, keys or QR codes. Nil discards.
	Logger *slog.Logger
	// Clock gives the time of stanzas. Nil is the real one.
	Clock func() time.Time
	// Snapshot, if set, is what [Server.Snapshot] wrote: the server starts with that state. Dir
	// must hold none then. New reads it and does not keep it.
	Snapshot io.Reader
	// After runs f, in a goroutine of its own, once d has passed on the same clock as Clock's,
	// unless it is stopped before. Nil is the real one. QR codes and pairing codes expire by it.
	After func(d time.Duration, f func()) (stop func())
	// Window is how many stanzas of one device's queue may be out and unacknowledged.
	// 0 is 1,024: whatsmeow loses the order of more than 2,048.
	Window int
	// Trace is how many stanzas [Server.Trace] keeps from the start. 0 keeps none.
	Trace int
	// Linger is the time between a last stanza, such as <failure>, and the close. 0 is 200 ms.
	Linger time.Duration
	// MediaTTL is how long the media host serves an upload. 0 is 30 days.
	MediaTTL time.Duration
	// MediaLimit is the largest upload, in bytes as they are uploaded. 0 is 2 GiB and 1 KiB.
	MediaLimit int64
	// GroupsByNumber makes the groups that clients create name their members by phone number,
	// in place of hidden identifiers.
	GroupsByNumber bool
	// NoHistory keeps phones from sending a new companion what they received and sent so far.
	NoHistory bool
	// NoWelcome keeps phones from sending a new companion anything by itself: neither history
	// nor the keys of the app state. It then has nothing to synchronise after pairing.
	NoWelcome bool
	// Control makes what answers under /sandbox/: Handler of package control. Nil leaves
	// only GET /sandbox/root-key, which hubs need.
	Control func(*Server) http.Handler
}

// Server is a WhatsApp server with its phones. Make one with [New].
type Server struct {
	opts    Options
	log     *slog.Logger
	journal *journal
	id      *identity
	media   *mediaStore
	stats   counters

	iq      map[string]iqHandler
	stanzas map[string]stanzaHandler

	groups      groupBook
	newsletters newsletterBook

	faults     faultBook
	trace      Trace
	violations violations
	ciphers    cipherWatch
	presences  presences
	pictures   pictures
	issued     preKeyWatch

	mu       sync.RWMutex // guards what follows; never held while sending
	closed   bool
	byNumber map[string]*account
	byLID    map[string]*account
	conns    map[*conn]struct{}
	pairings map[string]*pairing // by ref
	http     *http.Server
	addr     string

	ids  atomic.Uint64 // of connections, and of stanzas that the server makes up
	work sync.WaitGroup
}

// New makes a server and reads its state from opts.Dir. It listens after [Server.Start];
// phones work before that. Close it also when it was never started.
func New(opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.After == nil {
		opts.After = realAfter
	}
	if opts.Window == 0 {
		opts.Window = 1024
	}
	if opts.Linger == 0 {
		opts.Linger = 200 * time.Millisecond
	}
	if opts.MediaTTL == 0 {
		opts.MediaTTL = 30 * 24 * time.Hour
	}
	if opts.MediaLimit == 0 {
		opts.MediaLimit = 2<<30 + 1<<10 // a file of 2 GiB, encrypted
	}
	quieten()
	s := &Server{
		opts: opts, log: opts.Logger.With("component", "simulator"),
		byNumber: map[string]*account{}, byLID: map[string]*account{},
		conns: map[*conn]struct{}{}, pairings: map[string]*pairing{},
		media: newMediaStore(opts), groups: newGroupBook(), newsletters: newNewsletterBook(), presences: newPresences(),
	}
	s.trace.s = s
	s.trace.Enable(opts.Trace)
	s.iq, s.stanzas = s.iqTable(), s.stanzaTable()
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("load sandbox state: %w", err), s.journal.close())
	}
	return s, nil
}

// Start listens on addr, "127.0.0.1:0" for instance, and serves until Close. It
// refuses an address that is not loopback.
func (s *Server) Start(addr string) error {
	if err := checkLoopback(addr); err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	srv := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	s.mu.Lock()
	if s.closed || s.http != nil {
		s.mu.Unlock()
		return errors.Join(ErrClosed, ln.Close())
	}
	s.http, s.addr = srv, ln.Addr().String()
	s.work.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.work.Done()
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serve", "err", err)
		}
	}()
	s.wakePhones()
	return nil
}

// Handler serves everything: the websocket, and what [Options.Control] made.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws/chat", s.serveSocket)
	s.mountMedia(mux)
	mux.HandleFunc("GET "+picturePath+"{name}", s.servePicture)
	if s.opts.Control != nil {
		mux.Handle("/sandbox/", s.opts.Control(s))
	} else {
		mux.HandleFunc("GET /sandbox/root-key", s.serveRootKey)
	}
	return mux
}

// Close cuts all connections, waits for everything that the server runs, and closes
// its files. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	srv := s.http
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	var err error
	if srv != nil {
		err = srv.Close()
	}
	s.work.Wait()
	return errors.Join(err, s.journal.close())
}

// Addr is the address that the server listens on, host and port; empty before Start.
func (s *Server) Addr() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.addr
}

// URL is where the control API is, and what a hub's configuration names; empty before Start.
func (s *Server) URL() string {
	if addr := s.Addr(); addr != "" {
		return "http://" + addr
	}
	return ""
}

// RootKey is the public key that clients have to trust in place of WhatsApp's.
func (s *Server) RootKey() [32]byte { return *s.id.root.Pub }

// AddPhone makes a phone: a number, digits only or with a plus, and the name that it
// shows to others. Its LID follows from the number.
func (s *Server) AddPhone(number, name string) (*Phone, error) {
	number, err := cleanNumber(number)
	if err != nil {
		return nil, err
	}
	identityKey := keys.NewKeyPair()
	rec := accountRecord{
		Number: number, LID: lidOf(number), Name: name,
		Identity: identityKey.Priv[:], Registration: randomUint32()&0x3fff | 1,
		Raw: randomUint32(), Created: s.opts.Clock().Unix(),
	}
	signed := identityKey.CreateSignedPreKey(1)
	rec.Signed = signedRecord{ID: 1, Priv: signed.Priv[:], Pub: signed.Pub[:], Signature: signed.Signature[:]}
	a := newAccount(s, rec)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.byNumber[number] != nil || s.byLID[rec.LID] != nil {
		return nil, fmt.Errorf("%s: %w", number, ErrNumberTaken)
	}
	b := s.begin()
	b.putJSON("a/"+number, rec)
	if err = s.journal.commit(b); err != nil {
		return nil, err
	}
	s.byNumber[number], s.byLID[rec.LID] = a, a
	return a.phone, nil
}

// Phone returns the phone of a number, or nil.
func (s *Server) Phone(number string) *Phone {
	number, err := cleanNumber(number)
	if err != nil {
		return nil
	}
	if a := s.account(number); a != nil {
		return a.phone
	}
	return nil
}

// Violations lists the invariants that were broken since New; empty is what a test wants:
// a queue entry is released once, a one-time prekey is issued once, a ciphertext counter, and
// an iteration of a sender key, comes back only with identical bytes and id, nothing is sent
// on a replaced connection.
func (s *Server) Violations() []Violation { return s.violations.list() }

func (s *Server) begin() *batch { return new(batch) }

func (s *Server) now() int64 { return s.opts.Clock().Unix() }

func (s *Server) account(number string) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byNumber[number]
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	c.id = s.ids.Add(1)
	s.conns[c] = struct{}{}
	s.work.Add(1)
	return true
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.work.Done()
}

// spawn runs f in a goroutine that Close waits for, unless the server is closed.
func (s *Server) spawn(f func()) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		f()
	}()
	return true
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: %w", addr, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("address %q: %w", addr, ErrNotLoopback)
	}
	return nil
}

func cleanNumber(number string) (string, error) {
	if len(number) > 0 && number[0] == '+' {
		number = number[1:]
	}
	if len(number) < 5 || len(number) > 15 || number[0] == '0' {
		return "", fmt.Errorf("%q: %w", number, ErrNumber)
	}
	for _, c := range number {
		if c < '0' || c > '9' {
			return "", fmt.Errorf("%q: %w", number, ErrNumber)
		}
	}
	return number, nil
}

// lidOf derives the hidden identifier of a number: 15 digits that do not resemble it.
func lidOf(number string) string {
	sum := sha256.Sum256([]byte("lid of " + number))
	var n uint64
	for _, b := range sum[:8] {
		n = n<<8 | uint64(b)
	}
	return fmt.Sprint(100_000_000_000_000 + n%900_000_000_000_000)
}

// contextOrClosed is a helper of the Wait functions: it returns why a wait ended.
func contextOrClosed(ctx context.Context, what string) error {
	return fmt.Errorf("wait for %s: %w", what, ctx.Err())
}

func hexKey(key [32]byte) string { return hex.EncodeToString(key[:]) }

// quieten makes libsignal, which has one logger for the process, discard what it logs, unless
// it was given one. Its own prints to stdout, and is set up when it is first used, which races.
var quieten = sync.OnceFunc(func() {
	if logger.Logger == nil {
		var quiet logger.Loggable = silent{}
		logger.Setup(&quiet)
	}
})

type silent struct{}

func (silent) Debug(string, string)   {}
func (silent) Info(string, string)    {}
func (silent) Warning(string, string) {}
func (silent) Error(string, string)   {}
func (silent) Configure(string)       {}
