package simulator

import (
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// login admits a device that the account knows by its noise key, and refuses any other.
func (c *conn) login() {
	jid := types.NewJID(strconv.FormatUint(c.payload.GetUsername(), 10), types.DefaultUserServer)
	jid.Device = uint16(c.payload.GetDevice())
	d, err := c.s.admit(jid, c.static[:])
	if err != nil { // the state cannot be written: the device is not to blame
		c.fail(503)
		return
	}
	if d == nil {
		c.fail(401)
		return
	}
	c.device.Store(d)
	if f := c.s.faults.at(onLogin, d, nil); f != nil {
		c.end(true, waBinary.Node{Tag: "failure", Attrs: f.attrs()})
		return
	}
	c.dev = d
	c.push(waBinary.Node{Tag: "success", Attrs: waBinary.Attrs{
		"t": strconv.FormatInt(c.s.now(), 10), "lid": d.LID(), "props": "27", "location": "sim",
		"creation": strconv.FormatInt(d.acct.record.Created, 10), "companion_enc_static": "",
	}})
	if !d.attach(c) { // it was removed in between
		c.dev = nil
		c.end(true, streamError(401))
		return
	}
	c.s.log.Debug("logged in", "account", d.acct.number, "device", d.id, "conn", c.id)
}

// fail refuses a login.
func (c *conn) fail(reason int) {
	c.end(true, waBinary.Node{Tag: "failure", Attrs: waBinary.Attrs{
		"reason": strconv.Itoa(reason), "location": "sim",
	}})
}
