package simulator

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

// Errors of pairing.
var (
	// ErrQR says that a text is not a pairing QR.
	ErrQR = errors.New("not a pairing QR")
	// ErrQRExpired says that nobody waits for this QR: it is old, used, or of another server.
	ErrQRExpired = errors.New("QR has expired or belongs to another server")
	// ErrPairRefused says that the client refused, with the client's reason, or that its
	// signature was wrong, or that it went away before it signed.
	ErrPairRefused = errors.New("client refused the pairing")
	// ErrTooManyDevices says that an account has given out all device numbers.
	ErrTooManyDevices = errors.New("account has no device number left")
)

// How long the references of a connection that shows QR codes are good: whatsmeow's
// qrchan.go shows the first of six for a minute and each other for 20 seconds, and the server
// ends the connection once all ran out (pair-code.go).
const (
	refCount     = 6
	firstRefFor  = 60 * time.Second
	otherRefsFor = 20 * time.Second
)

// pairing is a connection that shows a QR, or a code, or both.
type pairing struct {
	c      *conn
	refs   []string
	until  map[string]time.Time // when each of refs expires
	data   *waWa6.ClientPayload_DevicePairingRegistrationData
	id     string              // of the pair-success query
	answer chan *waBinary.Node // capacity 1
	finish chan *waBinary.Node // capacity 1: companion_finish, see pair_code.go
	stop   func()              // the timer that ends the connection

	// Guarded by the server's mu.
	claimed bool     // a phone has scanned it
	codeOf  *account // whose code the client waits for
}

// startPairing sends the references that the client makes QR codes from.
func (c *conn) startPairing() {
	data := c.payload.GetDevicePairingData()
	if len(data.GetEIdent()) != 32 || len(data.GetERegid()) != 4 || len(data.GetESkeyID()) != 3 ||
		len(data.GetESkeyVal()) != 32 || len(data.GetESkeySig()) != 64 {
		c.fail(400)
		return
	}
	p := &pairing{
		c: c, data: data, id: c.s.stanzaID(), until: map[string]time.Time{},
		answer: make(chan *waBinary.Node, 1), finish: make(chan *waBinary.Node, 1),
	}
	c.pair = p
	expires := c.s.opts.Clock().Add(firstRefFor)
	nodes := make([]waBinary.Node, refCount)
	c.s.mu.Lock()
	for i := range nodes {
		var raw [24]byte
		_, _ = rand.Read(raw[:])
		ref := "2@" + base64.RawStdEncoding.EncodeToString(raw[:])
		p.refs, p.until[ref] = append(p.refs, ref), expires
		c.s.pairings[ref] = p
		nodes[i] = waBinary.Node{Tag: "ref", Content: []byte(ref)}
		expires = expires.Add(otherRefsFor)
	}
	p.stop = c.s.after(firstRefFor+(refCount-1)*otherRefsFor, func() { c.s.expirePairing(p) })
	c.s.mu.Unlock()
	c.push(waBinary.Node{
		Tag:     "iq",
		Attrs:   waBinary.Attrs{"from": types.ServerJID, "type": "set", "id": c.s.stanzaID(), "xmlns": "md"},
		Content: []waBinary.Node{{Tag: "pair-device", Content: nodes}},
	})
}

// claim lets one phone go on with the client that shows ref.
func (s *Server) claim(ref string) (*pairing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pairings[ref]
	if p == nil || !s.opts.Clock().Before(p.until[ref]) {
		return nil, ErrQRExpired
	}
	if !s.claimLocked(p) {
		return nil, ErrQRExpired
	}
	return p, nil
}

// claimLocked takes a pairing for one phone, once; the server's mu is held.
func (s *Server) claimLocked(p *pairing) bool {
	if p.claimed {
		return false
	}
	p.claimed = true
	p.stop()
	s.forgetRefs(p)
	return true
}

func (s *Server) forgetRefs(p *pairing) {
	for _, ref := range p.refs {
		delete(s.pairings, ref)
	}
}

// expirePairing ends a connection whose codes nobody used. whatsmeow takes that for the
// timeout of its QR channel.
func (s *Server) expirePairing(p *pairing) {
	s.mu.Lock()
	late := p.claimed
	if !late {
		s.forgetRefs(p)
		s.dropCode(p)
	}
	s.mu.Unlock()
	if !late {
		p.c.end(false)
	}
}

func (s *Server) dropPairing(p *pairing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.stop()
	s.forgetRefs(p)
	s.dropCode(p)
}

// handleUnpaired takes the answer to pair-success, the stages of pairing by code, and
// keepalives.
func (s *Server) handleUnpaired(c *conn, node *waBinary.Node) error {
	if node.Tag != "iq" {
		return nil
	}
	if c.pair != nil && text(node, "id") == c.pair.id {
		select {
		case c.pair.answer <- node:
		default:
		}
		return nil
	}
	// Nothing else is answered before login; handlers count on a device.
	if hasChild(node, linkCodeTag) {
		node.Attrs["xmlns"] = linkCodeTag
	} else if node.Attrs["xmlns"] != "w:p" {
		node.Attrs["xmlns"] = ""
	}
	return s.handleIQ(c, node)
}

// after runs f once d has passed on the server's clock, unless it is stopped or the server
// is closed before.
func (s *Server) after(d time.Duration, f func()) (stop func()) {
	return s.opts.After(d, func() { s.spawn(f) })
}

// realAfter is [Options.After] on the real clock.
func realAfter(d time.Duration, f func()) (stop func()) {
	timer := time.AfterFunc(d, f)
	return func() { timer.Stop() }
}
