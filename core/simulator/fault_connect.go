package simulator

import (
	"errors"
	"strconv"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// LoginFailure refuses the device's next logins, times of them, with <failure
// reason=code>; 0 times is until the rule is removed. It is [FaultLoginFailure] with nothing
// else said; a code that is none is an error.
func (d *Device) LoginFailure(code, times int) (*FaultRule, error) {
	return d.s.AddFault(Fault{Action: FaultLoginFailure, Device: d.JID().String(), Code: code, Times: times})
}

var errFaulty = errors.New("a fault ended the connection")

// shakeHands runs the handshake, with whatever fault is in force for it.
func (c *conn) shakeHands(write func([]byte) error) (*peer, error) {
	f := c.s.faults.at(onHandshake, nil, nil)
	if f == nil {
		return respond(c.s.id, c.readFrame, write)
	}
	if f.Action == FaultHandshakeHang {
		for { // until the client gives up, or the server closes
			if _, err := c.take(1); err != nil {
				return nil, err
			}
		}
	}
	return respond(c.s.id, c.readFrame, func(hello []byte) error {
		if f.Action == FaultHandshakeSpoil {
			hello[len(hello)-1] ^= 1 // in the certificate, encrypted
			return write(hello)
		}
		err := write(hello)
		if err == nil {
			_, err = c.readFrame() // or the client could still be sending it, and see an error of its own
			// whatsmeow sets up what it does at a close after its last frame, with no lock.
			timer := time.NewTimer(c.s.opts.Linger)
			defer timer.Stop()
			<-timer.C
		}
		return errors.Join(errFaulty, err)
	})
}

// lingers says whether the client gets time to handle the last stanza.
func (c *conn) lingers(last *waBinary.Node) bool {
	if !c.s.faults.any() {
		return true
	}
	return c.s.faults.at(onLast, c.device.Load(), func(f *Fault) bool {
		code := text(last, "code")
		if last.Tag == "failure" {
			code = text(last, "reason")
		}
		return (f.Tag == "" || f.Tag == last.Tag) && (f.Code == 0 || code == strconv.Itoa(f.Code))
	}) == nil
}
