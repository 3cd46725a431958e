package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// outgoing collects the stanzas of one action, with whatever else has to become
// durable together with them. Only commit lets any of it be seen.
type outgoing struct {
	s     *Server
	b     *batch
	items []outgoingItem
	// durable, if set, runs once everything is durable and before any of it is seen.
	durable func()
}

type outgoingItem struct {
	dev *Device
	e   *entry
}

func (s *Server) outgoing(b *batch) *outgoing { return &outgoing{s: s, b: b} }

// add queues node for a device. The node must not be changed afterwards.
func (o *outgoing) add(d *Device, node waBinary.Node) {
	if d.Removed() {
		return
	}
	e := newEntry(d.lastSeq.Add(1), node)
	if !o.b.off() {
		raw, err := waBinary.Marshal(node)
		if err != nil {
			panic("marshal own stanza: " + err.Error()) // Marshal fails by panic only
		}
		o.b.put(d.entryKey(e.seq), raw)
	}
	o.items = append(o.items, outgoingItem{d, e})
}

// commit makes everything durable and then hands it to the devices' queues. Senders
// keep the order of a chat by holding their own lock, or reading one stanza at a time, until
// it returns.
func (o *outgoing) commit() error {
	if err := o.s.journal.commit(o.b); err != nil {
		o.s.log.Error("sandbox state cannot be written", "err", err)
		return err
	}
	if o.durable != nil {
		o.durable()
	}
	late := o.s.begin()
	for _, it := range o.items {
		if !it.dev.enqueue(it.e) { // it was unlinked meanwhile, and its queue removed
			late.del(it.dev.entryKey(it.e.seq))
			continue
		}
		o.s.stats.queued.Add(1)
		if it.dev.id == 0 {
			it.dev.acct.phone.wake()
		}
	}
	return o.s.journal.commit(late)
}

// lowStock asks a device's client for more prekeys.
func (o *outgoing) lowStock(d *Device, left int) {
	o.add(d, waBinary.Node{
		Tag: "notification",
		Attrs: waBinary.Attrs{
			"from": types.ServerJID, "type": "encrypt", "id": o.s.stanzaID(),
			"t": strconv.FormatInt(o.s.now(), 10),
		},
		Content: []waBinary.Node{{Tag: "count", Attrs: waBinary.Attrs{"value": strconv.Itoa(left)}}},
	})
}

// devicesChanged tells the account's own companions, and the companions of all whom
// it met, that a device came or went: they cache the list that they encrypt for. One that
// came may be missing in the account still.
func (o *outgoing) devicesChanged(a *account, what string, changed *Device) {
	all := a.all()
	if what == "add" && !slices.Contains(all, changed) {
		all = append(all, changed)
	}
	var pns, lids []types.JID
	own := make([]waBinary.Node, 0, len(all))
	for _, d := range all {
		pns, lids = append(pns, d.JID()), append(lids, d.LID())
		own = append(own, waBinary.Node{Tag: "device", Attrs: waBinary.Attrs{"jid": d.JID()}})
	}
	t := strconv.FormatInt(o.s.now(), 10)
	for _, d := range all {
		if d.id == 0 || d == changed {
			continue
		}
		o.add(d, waBinary.Node{
			Tag:     "notification",
			Attrs:   waBinary.Attrs{"from": a.pn(), "type": "account_sync", "id": o.s.stanzaID(), "t": t},
			Content: []waBinary.Node{{Tag: "devices", Attrs: waBinary.Attrs{"dhash": devicesHash(pns)}, Content: own}},
		})
	}
	for _, friend := range a.friends() {
		for _, d := range friend.all() {
			if d.id == 0 {
				continue
			}
			o.add(d, waBinary.Node{
				Tag: "notification",
				Attrs: waBinary.Attrs{
					"from": a.pn(), "lid": a.hidden(), "type": "devices", "id": o.s.stanzaID(), "t": t,
				},
				Content: []waBinary.Node{{
					Tag:   what,
					Attrs: waBinary.Attrs{"device_hash": devicesHash(pns), "device_lid_hash": devicesHash(lids)},
					Content: []waBinary.Node{{
						Tag: "device", Attrs: waBinary.Attrs{"jid": changed.JID(), "lid": changed.LID()},
					}},
				}},
			})
		}
	}
}

// devicesHash is the hash by which clients compare lists of devices.
func devicesHash(devices []types.JID) string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = d.ADString()
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "")))
	return "2:" + base64.RawStdEncoding.EncodeToString(sum[:6])
}

// stanzaID makes an id for a stanza of the server's own; unique over restarts.
func (s *Server) stanzaID() string {
	return strconv.FormatInt(s.opts.Clock().UnixMilli(), 10) + "-" + strconv.FormatUint(s.ids.Add(1), 10)
}
