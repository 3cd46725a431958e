package simulator

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// lowStock is the number of prekeys below which a client uploads more.
const lowStock = 5

// oneTimeKey is the public half of a companion's one-time prekey. An issued one
// stays known, so that it is never issued again.
type oneTimeKey struct {
	pub    [32]byte
	issued bool
}

// preKeys are the one-time prekeys that a companion has uploaded.
type preKeys struct {
	mu    sync.Mutex
	byID  map[uint32]*oneTimeKey
	stock []uint32 // not issued, in the order of their upload
}

func (k *preKeys) load(id uint32, pub [32]byte, issued bool) {
	k.byID[id] = &oneTimeKey{pub, issued}
	if !issued {
		k.stock = append(k.stock, id)
		slices.Sort(k.stock)
	}
}

func (k *preKeys) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.stock)
}

func preKeyKey(d *Device, id uint32) string {
	return d.key("k") + "/" + strconv.FormatUint(uint64(id), 10)
}

// upload takes new keys. One that was issued stays so: a client that crashed before it
// noted an upload sends the same keys again.
func (k *preKeys) upload(d *Device, ids []uint32, pubs [][32]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := d.s.begin()
	for i, id := range ids {
		if old := k.byID[id]; old != nil && old.pub == pubs[i] {
			continue
		} else if old == nil || old.issued {
			k.stock = append(k.stock, id)
		}
		k.byID[id] = &oneTimeKey{pub: pubs[i]}
		b.put(preKeyKey(d, id), append(pubs[i][:], 0))
	}
	return d.s.journal.commit(b)
}

// issue hands out the oldest key; false when there is none. It is durable when it
// returns, so that no crash makes it be handed out again.
func (k *preKeys) issue(d *Device) (id uint32, pub [32]byte, left int, ok bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.stock) == 0 {
		return 0, pub, 0, false, nil
	}
	id = k.stock[0]
	key := k.byID[id]
	d.s.watchPreKey(d, id, key.pub)
	b := d.s.begin()
	b.put(preKeyKey(d, id), append(key.pub[:], 1))
	if err = d.s.journal.commit(b); err != nil {
		return 0, pub, 0, false, err
	}
	key.issued = true
	k.stock = k.stock[1:]
	return id, key.pub, len(k.stock), true, nil
}

func (k *preKeys) drop(d *Device, b *batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.byID {
		b.del(preKeyKey(d, id))
	}
	k.byID, k.stock = map[uint32]*oneTimeKey{}, nil
}

// bundle is what someone needs to open a session with a device.
type bundle struct {
	registration uint32
	identity     [32]byte
	signedID     uint32
	signed       [32]byte
	signature    [64]byte
	hasOneTime   bool
	oneTimeID    uint32
	oneTime      [32]byte
}

// issueBundle hands out a device's keys, a one-time prekey among them if there is one.
// It adds to o the notification to a client that runs low.
func (s *Server) issueBundle(d *Device, o *outgoing) (*bundle, error) {
	if d.id == 0 {
		return d.acct.phone.issueBundle()
	}
	rec := d.rec
	out := &bundle{
		registration: rec.Registration, identity: [32]byte(rec.Identity),
		signedID: rec.Signed.ID, signed: [32]byte(rec.Signed.Pub), signature: [64]byte(rec.Signed.Signature),
	}
	id, pub, left, ok, err := d.prekeys.issue(d)
	if err != nil {
		return nil, err
	}
	out.hasOneTime, out.oneTimeID, out.oneTime = ok, id, pub
	if ok && left == lowStock-1 {
		o.lowStock(d, left)
	}
	return out, nil
}

func (b *bundle) nodes() []waBinary.Node {
	out := []waBinary.Node{
		{Tag: "registration", Content: binary.BigEndian.AppendUint32(nil, b.registration)},
		{Tag: "type", Content: []byte{5}},
		{Tag: "identity", Content: b.identity[:]},
		{Tag: "skey", Content: []waBinary.Node{
			{Tag: "id", Content: keyID(b.signedID)},
			{Tag: "value", Content: b.signed[:]},
			{Tag: "signature", Content: b.signature[:]},
		}},
	}
	if b.hasOneTime {
		out = append(out, waBinary.Node{Tag: "key", Content: []waBinary.Node{
			{Tag: "id", Content: keyID(b.oneTimeID)},
			{Tag: "value", Content: b.oneTime[:]},
		}})
	}
	return out
}

func keyID(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id)[1:] }

func parseKeyID(content any) (uint32, error) {
	raw, ok := content.([]byte)
	if !ok || len(raw) != 3 {
		return 0, fmt.Errorf("key id of %T", content)
	}
	return uint32(raw[0])<<16 | uint32(raw[1])<<8 | uint32(raw[2]), nil
}

// handleEncrypt answers xmlns=encrypt: the count, an upload, or other devices' keys.
func (s *Server) handleEncrypt(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	switch {
	case iq.Attrs["type"] == "set":
		return nil, s.uploadPreKeys(c.dev, iq)
	case hasChild(iq, "count"):
		return []waBinary.Node{{Tag: "count", Attrs: waBinary.Attrs{"value": strconv.Itoa(c.dev.prekeys.count())}}}, nil
	case hasChild(iq, "key"):
		return s.fetchPreKeys(iq)
	}
	return nil, errNotImplemented
}

func (s *Server) uploadPreKeys(d *Device, iq *waBinary.Node) error {
	list := iq.GetChildByTag("list")
	var ids []uint32
	var pubs [][32]byte
	for _, key := range list.GetChildren() {
		id, err := parseKeyID(key.GetChildByTag("id").Content)
		value, ok := key.GetChildByTag("value").Content.([]byte)
		if err != nil || !ok || len(value) != 32 {
			return errBadRequest
		}
		ids, pubs = append(ids, id), append(pubs, [32]byte(value))
	}
	return d.prekeys.upload(d, ids, pubs)
}

func (s *Server) fetchPreKeys(iq *waBinary.Node) ([]waBinary.Node, error) {
	key := iq.GetChildByTag("key")
	var users []waBinary.Node
	o := s.outgoing(s.begin())
	for _, asked := range key.GetChildren() {
		jid, ok := asked.Attrs["jid"].(types.JID)
		if !ok {
			return nil, errBadRequest
		}
		user := waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": jid, "t": strconv.FormatInt(s.now(), 10)}}
		if d := s.findDevice(jid); d == nil {
			user.Content = []waBinary.Node{errNotFound.node()}
		} else {
			bundle, err := s.issueBundle(d, o)
			if err != nil {
				return nil, err
			}
			user.Content = bundle.nodes()
		}
		users = append(users, user)
	}
	if err := o.commit(); err != nil {
		return nil, err
	}
	return []waBinary.Node{{Tag: "list", Content: users}}, nil
}
