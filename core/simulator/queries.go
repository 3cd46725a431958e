package simulator

import (
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handlePassive begins or ends the delivery of a device's queue.
func (s *Server) handlePassive(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	switch {
	case hasChild(iq, "active"):
		c.afterAnswer = func() {
			c.dev.activate(c)
			s.welcomeLater(c.dev)
		}
	case hasChild(iq, "passive"):
		c.dev.passivate(c)
	default:
		return nil, errBadRequest
	}
	return nil, nil
}

// handleMultiDevice logs a companion out.
func (s *Server) handleMultiDevice(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	remove, ok := iq.GetOptionalChildByTag("remove-companion-device")
	if !ok {
		return nil, errNotImplemented
	}
	jid, _ := remove.Attrs["jid"].(types.JID)
	if d := s.findDevice(jid); d != c.dev {
		return nil, errNotAcceptable
	}
	d := c.dev
	c.afterAnswer = func() {
		if err := d.remove(func(c *conn) { c.end(false) }); err != nil {
			s.log.Error("log out device", "err", err)
		}
	}
	return nil, nil
}
