package simulator

import (
	"errors"
	"fmt"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// ErrOffline says that a device has no connection.
var ErrOffline = errors.New("device is not logged in")

// Inject sends the device's client a stanza as it is, once, past the queue; the fault
// rules see it. JIDs in it are types.JID, numbers are text. It is [ErrOffline] without a
// connection, and for a phone, which has none.
func (d *Device) Inject(node waBinary.Node) error {
	if err := checkNode(&node); err != nil {
		return err
	}
	c := d.connection()
	if c == nil {
		return fmt.Errorf("%s: %w", d.JID(), ErrOffline)
	}
	c.push(cloneNode(&node))
	return nil
}

// InjectQueued puts a stanza into the device's queue, durably: it is sent after what
// waits there, and again after each login, until the device acknowledges it. It needs an id
// and a tag that clients acknowledge: message, receipt or notification.
func (d *Device) InjectQueued(node waBinary.Node) error {
	if err := checkNode(&node); err != nil {
		return err
	}
	switch node.Tag {
	case "message", "receipt", "notification":
	default:
		return fmt.Errorf("queue <%s>: clients acknowledge messages, receipts and notifications", node.Tag)
	}
	if text(&node, "id") == "" {
		return fmt.Errorf("queue <%s>: without an id nothing can acknowledge it", node.Tag)
	}
	o := d.s.outgoing(d.s.begin())
	o.add(d, cloneNode(&node))
	return o.commit()
}
