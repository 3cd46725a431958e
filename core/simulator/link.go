package simulator

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// pairTimeout is how long a client may take to sign.
const pairTimeout = 20 * time.Second

// LinkQR scans a client's QR: it makes the client a companion of this phone's account
// and returns the companion once it has signed.
//
// An error after the client was told of its success does not always mean that it is not a
// companion. A client that accepts stores the pairing before it signs (whatsmeow's pair.go);
// when its signature is lost, with the connection or with this server, its first login counts
// for it.
func (p *Phone) LinkQR(ctx context.Context, code string) (*Device, error) {
	parsed, err := parseQR(code)
	if err != nil {
		return nil, err
	}
	waiting, err := p.acct.s.claim(parsed.ref)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(parsed.noise, waiting.c.static[:]) || !bytes.Equal(parsed.identity, waiting.data.GetEIdent()) {
		waiting.c.end(false)
		return nil, fmt.Errorf("%w: keys of another client", ErrQR)
	}
	return p.link(ctx, waiting, parsed.adv)
}

// link runs the pairing after the secret is known, from a QR or a code. Whatever comes of
// it, the connection ends: a client logs in on a new one, or shows new codes on it.
func (p *Phone) link(ctx context.Context, waiting *pairing, adv []byte) (*Device, error) {
	c := waiting.c
	d, err := p.propose(waiting)
	if err != nil {
		c.end(false)
		return nil, err
	}
	container, details, err := p.signDevice(waiting.data.GetEIdent(), adv, d.id)
	if err != nil {
		c.end(false)
		return nil, errors.Join(err, p.acct.dropProposed(d))
	}
	c.push(waBinary.Node{
		Tag: "iq",
		Attrs: waBinary.Attrs{
			"from": types.ServerJID, "type": "set", "xmlns": "md", "id": waiting.id,
			"t": fmt.Sprint(p.acct.s.now()),
		},
		Content: []waBinary.Node{{Tag: "pair-success", Content: append([]waBinary.Node{
			{Tag: "device-identity", Content: container},
			{Tag: "device", Attrs: waBinary.Attrs{"jid": d.JID(), "lid": d.LID()}},
		}, p.acct.platform()...)}},
	})
	answer, err := waiting.await(ctx, waiting.answer, "the client's signature")
	if err != nil {
		c.end(false)
		return nil, err
	}
	if err = p.checkSignature(answer, waiting.data.GetEIdent(), details); err != nil {
		if text(answer, "type") == "result" {
			// It has stored the pairing and believes in it. What happens next is what tells it that
			// it is wrong: it logs in, and is refused.
			c.end(true, streamError(515))
		} else {
			c.end(true)
		}
		return nil, errors.Join(err, p.acct.dropProposed(d))
	}
	if err = p.acct.accept(d); err != nil {
		c.end(false)
		return nil, err
	}
	c.end(false, streamError(515))
	return d, nil
}

// await waits for what the client has to say next.
func (w *pairing) await(ctx context.Context, from <-chan *waBinary.Node, what string) (*waBinary.Node, error) {
	late := make(chan struct{})
	defer w.c.s.after(pairTimeout, func() { close(late) })()
	select {
	case answer := <-from:
		return answer, nil
	case <-w.c.gone:
	case <-late:
		return nil, fmt.Errorf("%w: it took too long for %s", ErrPairRefused, what)
	case <-ctx.Done():
		return nil, contextOrClosed(ctx, what)
	}
	select {
	case answer := <-from: // its last words
		return answer, nil
	default:
		return nil, fmt.Errorf("%w: it disconnected before %s", ErrPairRefused, what)
	}
}

// propose gives the client a device number and makes it durable as a companion that has not
// signed yet: nobody sees it, but from here on it can log in, see [Server.admit].
func (p *Phone) propose(waiting *pairing) (*Device, error) {
	a, data := p.acct, waiting.data
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.record.LastDevice == 255 { // the wire has one byte for it
		return nil, ErrTooManyDevices
	}
	next := a.record
	next.LastDevice++
	d := newCompanion(a, deviceRecord{
		ID: next.LastDevice, Noise: waiting.c.static[:], Identity: data.GetEIdent(),
		Registration: binary.BigEndian.Uint32(data.GetERegid()),
		Signed: signedRecord{
			ID:  uint32(data.GetESkeyID()[0])<<16 | uint32(data.GetESkeyID()[1])<<8 | uint32(data.GetESkeyID()[2]),
			Pub: data.GetESkeyVal(), Signature: data.GetESkeySig(),
		},
		KeyIndex: uint32(next.LastDevice), Paired: a.s.now(),
	})
	rec := d.rec
	rec.Proposed = true
	b := a.s.begin()
	b.putJSON("a/"+a.number, next)
	b.putJSON(d.key("d"), rec)
	if err := a.s.journal.commit(b); err != nil {
		return nil, err
	}
	a.record = next
	a.proposed[d.id] = d
	return d, nil
}

// admit returns the companion that a login is for, or nil. One that had not signed is a
// companion from here on: a client learns its number from pair-success only, and keeps it only
// when it accepted the phone's signature.
func (s *Server) admit(jid types.JID, noise []byte) (*Device, error) {
	a := s.findAccount(jid)
	if a == nil || jid.Device == 0 {
		return nil, nil
	}
	a.mu.Lock()
	d, proposed := a.devices[jid.Device], a.proposed[jid.Device]
	a.mu.Unlock()
	if d == nil && proposed != nil && bytes.Equal(proposed.rec.Noise, noise) {
		if err := a.accept(proposed); err != nil {
			return nil, err
		}
		d = a.device(jid.Device)
	}
	if d == nil || !bytes.Equal(d.rec.Noise, noise) {
		return nil, nil
	}
	return d, nil
}

// accept makes a proposed companion a real one, durably, and tells who has to know. Earlier
// proposals to the same client are void. Calling it again does nothing.
func (a *account) accept(d *Device) error {
	a.linking.Lock()
	defer a.linking.Unlock()
	a.mu.Lock()
	if a.devices[d.id] == d || a.proposed[d.id] != d {
		a.mu.Unlock()
		return nil
	}
	b := a.s.begin()
	b.putJSON(d.key("d"), d.rec)
	void := []uint16{d.id}
	for id, other := range a.proposed {
		if other != d && bytes.Equal(other.rec.Noise, d.rec.Noise) {
			b.del(other.key("d"))
			void = append(void, id)
		}
	}
	a.mu.Unlock()
	o := a.s.outgoing(b)
	o.devicesChanged(a, "add", d)
	o.durable = func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, id := range void {
			delete(a.proposed, id)
		}
		a.devices[d.id] = d
	}
	return o.commit()
}

func (a *account) allProposed() []*Device {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.proposed))
}

// dropProposed forgets a companion that refused, or whose signature was wrong.
func (a *account) dropProposed(devices ...*Device) error {
	a.linking.Lock()
	defer a.linking.Unlock()
	b := a.s.begin()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range devices {
		if a.proposed[d.id] == d {
			delete(a.proposed, d.id)
			b.del(d.key("d"))
		}
	}
	return a.s.journal.commit(b)
}
