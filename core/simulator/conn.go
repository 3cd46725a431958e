package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/socket"
)

// outboxLimit is how many stanzas may wait for a client that does not read. A
// client that is further behind is cut off.
const outboxLimit = 16384

// conn is one websocket. The goroutine of its HTTP handler reads and handles
// stanzas one after the other; a second one writes. Nothing else touches the socket,
// so no lock of the server is held while sending.
type conn struct {
	s   *Server
	id  uint64
	ws  *websocket.Conn
	buf []byte // bytes received and not yet framed
	peer
	inCount, outCount uint32

	dev *Device // once logged in; set by the reader before anything else sees it
	// device is who tries to log in, or is, for whoever does not read the connection.
	device atomic.Pointer[Device]
	pair   *pairing // while pairing

	afterAnswer func() // what a query's handler wants done once its answer is out; of the reader

	handling sync.Mutex // held while a stanza of the client is handled

	mu      sync.Mutex
	delayed delayLine
	outbox  []waBinary.Node
	closing bool          // nothing may be added any more; what is in outbox goes out, then the socket closes
	abrupt  bool          // and with no time for the client to handle the last one
	last    waBinary.Node // what ends the connection, if anything does
	dead    bool
	final   bool          // the last stanza left: any later one breaks an invariant
	wake    chan struct{} // capacity 1
	gone    chan struct{} // closed when the reader ended
}

// serveSocket is the handler of GET /ws/chat.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	if f := s.faults.at(onSocket, nil, nil); f != nil {
		http.Error(w, "fault", f.Code)
		return
	}
	// The origin is WhatsApp's web page, whatever host the client was made to dial.
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(socket.FrameMaxSize)
	c := &conn{s: s, ws: ws, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	if !s.track(c) {
		_ = ws.CloseNow()
		return
	}
	defer s.untrack(c)
	if err = c.run(); err != nil && !errors.Is(err, errEnded) {
		s.log.Debug("connection ended", "conn", c.id, "err", err)
	}
}

var errEnded = errors.New("connection ended")

func (c *conn) run() error {
	defer func() { _ = c.ws.CloseNow() }()
	header := make([]byte, 0, 4)
	for len(header) < 4 {
		b, err := c.take(4 - len(header))
		if err != nil {
			return err
		}
		header = append(header, b...)
	}
	if string(header) != string(socket.WAConnHeader) {
		return fmt.Errorf("%w: unexpected header", errHandshake)
	}
	p, err := c.shakeHands(func(data []byte) error {
		return c.ws.Write(context.Background(), websocket.MessageBinary, appendFrame(nil, data))
	})
	if err != nil {
		return err
	}
	c.peer = *p
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.writeLoop()
	}()
	defer func() {
		c.kill()
		<-written
	}()
	defer c.leave()
	c.enter()
	return c.readLoop()
}

// take returns the next n bytes of the stream of frames.
func (c *conn) take(n int) ([]byte, error) {
	for len(c.buf) < n {
		kind, data, err := c.ws.Read(context.Background())
		if err != nil {
			return nil, errEnded
		}
		if kind != websocket.MessageBinary {
			continue
		}
		if len(c.buf) == 0 {
			c.buf = data
		} else {
			c.buf = append(c.buf, data...)
		}
	}
	out := c.buf[:n:n]
	c.buf = c.buf[n:]
	return out, nil
}

func (c *conn) readFrame() ([]byte, error) {
	head, err := c.take(socket.FrameLengthSize)
	if err != nil {
		return nil, err
	}
	return c.take(int(head[0])<<16 | int(head[1])<<8 | int(head[2]))
}

func (c *conn) readLoop() error {
	for {
		frame, err := c.readFrame()
		if err != nil {
			return err
		}
		plain, err := c.in.Open(frame[:0], frameIV(c.inCount), frame, nil)
		c.inCount++
		if err != nil || len(plain) == 0 {
			return fmt.Errorf("frame %d does not decrypt", c.inCount-1)
		}
		if plain, err = waBinary.Unpack(plain); err != nil {
			return fmt.Errorf("unpack frame: %w", err)
		}
		node, err := waBinary.Unmarshal(plain)
		if err != nil {
			return fmt.Errorf("parse stanza: %w", err)
		}
		if c.isClosing() {
			// A replaced or refused client may still be talking. What it says no longer counts.
			c.s.stats.ignored.Add(1)
			continue
		}
		if err = c.receive(node); err != nil {
			return err
		}
	}
}

// enter starts what follows the handshake: pairing, or login.
func (c *conn) enter() {
	if c.payload.GetDevicePairingData() != nil {
		c.startPairing()
		return
	}
	c.login()
}

// leave undoes enter.
func (c *conn) leave() {
	close(c.gone)
	if c.pair != nil {
		c.s.dropPairing(c.pair)
	}
	if c.dev != nil {
		c.dev.detach(c)
		c.s.presenceLost(c.dev, c.id)
	}
}

// pushNow hands stanzas to the writer, past no fault rule: [conn.push] is for all that
// the server says by itself.
func (c *conn) pushNow(nodes ...waBinary.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.dead {
		return
	}
	if len(c.outbox)+len(nodes) > outboxLimit {
		c.s.log.Warn("client does not read, cutting it off", "conn", c.id)
		c.dead = true
		go func() { _ = c.ws.CloseNow() }()
		c.poke()
		return
	}
	c.outbox = append(c.outbox, nodes...)
	c.poke()
}

// end sends one last stanza, or none, and closes the socket a moment after: a client
// needs that moment to handle the stanza before it notices the close. What was waiting is
// dropped when discard is set; a queue entry among it stays queued.
func (c *conn) end(discard bool, last ...waBinary.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.dead {
		return
	}
	c.closing = true
	if discard {
		c.outbox = c.outbox[:0]
	}
	c.outbox = append(c.outbox, last...)
	if len(last) > 0 {
		c.last = last[len(last)-1]
	}
	c.poke()
}

// hangUp closes the socket once what was waiting is out, with no last word.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing, c.abrupt = true, true
	c.poke()
}

func (c *conn) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// cut closes the socket at once, as a lost network would. It may be called from anywhere.
func (c *conn) cut() { _ = c.ws.CloseNow() }

func (c *conn) kill() {
	c.mu.Lock()
	c.dead = true
	c.poke()
	c.mu.Unlock()
	_ = c.ws.CloseNow()
}

func (c *conn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *conn) writeLoop() {
	var spare []waBinary.Node
	var frames []byte
	for range c.wake {
		for {
			c.mu.Lock()
			nodes, closing, dead := c.outbox, c.closing, c.dead
			c.outbox = spare[:0]
			c.mu.Unlock()
			if dead {
				return
			}
			if len(nodes) == 0 && closing {
				c.linger()
				return
			}
			if len(nodes) == 0 {
				spare = nodes
				break
			}
			var err error
			if frames, err = c.write(frames[:0], nodes); err != nil {
				_ = c.ws.CloseNow() // the reader notices and ends the connection
				c.s.log.Debug("write to client", "conn", c.id, "err", err)
				return
			}
			clear(nodes)
			spare = nodes[:0]
			if closing {
				c.mu.Lock()
				c.final = true
				c.mu.Unlock()
			}
		}
	}
}

// write sends nodes, as many as fit per websocket message: whole frames only, since
// whatsmeow miscounts one that is spread over two messages.
func (c *conn) write(frames []byte, nodes []waBinary.Node) ([]byte, error) {
	c.mu.Lock()
	final := c.final
	c.mu.Unlock()
	if final {
		c.s.violate("sent on an ended connection", "conn %d: %s", c.id, nodes[0].Tag)
	}
	for i := range nodes {
		plain, err := waBinary.Marshal(nodes[i])
		if err != nil {
			return frames, fmt.Errorf("marshal stanza: %w", err)
		}
		c.s.trace.record(c, Out, &nodes[i], "")
		size := len(plain) + c.out.Overhead()
		frames = append(frames, byte(size>>16), byte(size>>8), byte(size))
		frames = c.out.Seal(frames, frameIV(c.outCount), plain, nil)
		c.outCount++
		if len(frames) >= 32<<10 || i == len(nodes)-1 {
			if err = c.ws.Write(context.Background(), websocket.MessageBinary, frames); err != nil {
				return frames, err
			}
			frames = frames[:0]
		}
	}
	return frames, nil
}

func (c *conn) linger() {
	c.mu.Lock()
	abrupt, last := c.abrupt, c.last
	c.mu.Unlock()
	if abrupt || last.Tag != "" && !c.lingers(&last) {
		_ = c.ws.CloseNow()
		return
	}
	timer := time.NewTimer(c.s.opts.Linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.gone:
	}
	_ = c.ws.CloseNow()
}

func appendFrame(out, data []byte) []byte {
	out = append(out, byte(len(data)>>16), byte(len(data)>>8), byte(len(data)))
	return append(out, data...)
}

var _ slog.LogValuer = (*conn)(nil)

// LogValue keeps keys out of logs.
func (c *conn) LogValue() slog.Value { return slog.Uint64Value(c.id) }
