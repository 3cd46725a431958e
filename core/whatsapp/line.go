package whatsapp

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// line carries a client's websocket, so that a connection can be given up while its
// handshake waits for an answer: whatsmeow waits 20 s for it, holding a lock that
// closing needs, and neither a context nor a closed connection ends that.
type line struct {
	base http.RoundTripper

	mu sync.Mutex
	// up: the handshake is over. hung: given up, and never up any more.
	up, hung bool
	wire     *wire
}

var errHungUp = errors.New("connection was given up")

// newLine returns the line and the client to make websockets with.
func newLine(c *http.Client) (*line, *http.Client) {
	l := &line{base: c.Transport}
	if l.base == nil {
		l.base = http.DefaultTransport
	}
	through := *c
	through.Transport = l
	return l, &through
}

// RoundTrip implements http.RoundTripper.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return resp, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		return resp, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hung {
		_ = conn.Close()
		return nil, errHungUp
	}
	l.wire = &wire{conn: conn, closed: make(chan struct{})}
	resp.Body = l.wire
	return resp, nil
}

// settle says that the handshake is over; false if the line was given up meanwhile.
func (l *line) settle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = !l.hung
	return l.up
}

// hangUp gives up dialling or the handshake, whichever is under way or would come
// next; stopDial ends the former. It does nothing once the line is up. Safe twice.
func (l *line) hangUp(stopDial func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		return
	}
	l.hung = true
	if l.wire == nil {
		stopDial()
		return
	}
	l.wire.cut()
}

// emptyFrame is a websocket message with an empty frame of WhatsApp's in it, which is
// no answer to a hello.
var emptyFrame = [...]byte{0x82, 3, 0, 0, 0}

// wire is one websocket's connection.
type wire struct {
	conn     io.ReadWriteCloser
	severed  atomic.Bool
	closing  sync.Once
	closed   chan struct{}
	answered bool // belongs to the reader

	// writes orders what whatsmeow does around a write and after a failed read: it says
	// goodbye, and looks whether it has, with no lock of its own.
	writes atomic.Uint64
	mu     sync.Mutex // held while writing
	hello  bool
}

// cut closes the connection in a way that the handshake notices.
func (w *wire) cut() {
	w.severed.Store(true)
	_ = w.conn.Close()
}

// Read implements io.Reader. After a cut the handshake that waits for its first answer
// gets one that it cannot accept. It is given only if somebody waits for it: what
// nobody takes would keep whatsmeow's reader for ever. That the connection is cut is
// told when whatsmeow has closed its end, since it looks then, with no lock, whether it has.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.conn.Read(p)
	if n > 0 {
		w.answered = true
	}
	if err != nil {
		w.writes.Load()
	}
	if err == nil || n > 0 || !w.severed.Load() {
		return n, err
	}
	if !w.answered && w.greeted() && len(p) >= len(emptyFrame) {
		w.answered = true
		return copy(p, emptyFrame[:]), nil
	}
	<-w.closed
	return n, err
}

func (w *wire) greeted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hello
}

// Write implements io.Writer.
func (w *wire) Write(p []byte) (int, error) {
	w.writes.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.conn.Write(p)
	w.hello = w.hello || err == nil
	return n, err
}

// Close implements io.Closer.
func (w *wire) Close() error {
	w.closing.Do(func() { close(w.closed) })
	return w.conn.Close()
}
