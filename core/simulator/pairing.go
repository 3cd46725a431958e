package simulator

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.mau.fi/libsignal/ecc"
	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

// Errors of pairing.
var (
	// ErrQR says that a text is not a pairing QR.
	ErrQR = errors.New("not a pairing QR")
	// ErrQRExpired says that nobody waits for this QR: it is old, used, or of another server.
	ErrQRExpired = errors.New("QR has expired or belongs to another server")
	// ErrPairRefused says that the client refused, with the client's reason.
	ErrPairRefused = errors.New("client refused the pairing")
	// ErrTooManyDevices says that an account has given out all device numbers.
	ErrTooManyDevices = errors.New("account has no device number left")
)

// pairTimeout is how long a client may take to sign.
const pairTimeout = 20 * time.Second

// pairing is a connection that shows a QR.
type pairing struct {
	c      *conn
	refs   []string
	data   *waWa6.ClientPayload_DevicePairingRegistrationData
	id     string              // of the pair-success query
	answer chan *waBinary.Node // capacity 1
}

// startPairing sends the references that the client makes QR codes from.
func (c *conn) startPairing() {
	data := c.payload.GetDevicePairingData()
	if len(data.GetEIdent()) != 32 || len(data.GetERegid()) != 4 || len(data.GetESkeyID()) != 3 ||
		len(data.GetESkeyVal()) != 32 || len(data.GetESkeySig()) != 64 {
		c.fail(400)
		return
	}
	p := &pairing{c: c, data: data, id: c.s.stanzaID(), answer: make(chan *waBinary.Node, 1)}
	c.pair = p
	nodes := make([]waBinary.Node, 6)
	c.s.mu.Lock()
	for i := range nodes {
		var raw [24]byte
		_, _ = rand.Read(raw[:])
		ref := "2@" + base64.RawStdEncoding.EncodeToString(raw[:])
		p.refs = append(p.refs, ref)
		c.s.pairings[ref] = p
		nodes[i] = waBinary.Node{Tag: "ref", Content: []byte(ref)}
	}
	c.s.mu.Unlock()
	c.push(waBinary.Node{
		Tag:     "iq",
		Attrs:   waBinary.Attrs{"from": types.ServerJID, "type": "set", "id": c.s.stanzaID(), "xmlns": "md"},
		Content: []waBinary.Node{{Tag: "pair-device", Content: nodes}},
	})
}

func (s *Server) dropPairing(p *pairing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range p.refs {
		delete(s.pairings, ref)
	}
}

// handleUnpaired takes the answer to pair-success, and keepalives.
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
	if node.Attrs["xmlns"] != "w:p" {
		node.Attrs["xmlns"] = "" // nothing else is answered before login; handlers count on a device
	}
	return s.handleIQ(c, node)
}

// qr is what a pairing QR says.
type qr struct {
	ref             string
	noise, identity []byte
	adv             []byte
}

// parseQR reads both forms: ref,noise,identity,adv as it is, or behind
// https://wa.me/settings/linked_devices#.
func parseQR(code string) (*qr, error) {
	code = strings.TrimSpace(code)
	if strings.HasPrefix(code, "https://") {
		_, fragment, ok := strings.Cut(code, "#")
		if !ok {
			return nil, ErrQR
		}
		code = fragment
		if strings.Contains(code, "%") {
			var err error
			if code, err = url.PathUnescape(code); err != nil {
				return nil, ErrQR
			}
		}
	}
	parts := strings.Split(code, ",")
	if len(parts) < 4 || parts[0] == "" {
		return nil, ErrQR
	}
	out := &qr{ref: parts[0]}
	for i, field := range []*[]byte{&out.noise, &out.identity, &out.adv} {
		raw, err := base64.StdEncoding.DecodeString(parts[i+1])
		if err != nil || len(raw) != 32 {
			return nil, ErrQR
		}
		*field = raw
	}
	return out, nil
}

// LinkQR scans a client's QR: it makes the client a companion of this phone's account
// and returns the companion once it has signed.
func (p *Phone) LinkQR(ctx context.Context, code string) (*Device, error) {
	parsed, err := parseQR(code)
	if err != nil {
		return nil, err
	}
	s := p.acct.s
	s.mu.Lock()
	waiting := s.pairings[parsed.ref]
	if waiting != nil {
		for _, ref := range waiting.refs { // one scan a connection
			delete(s.pairings, ref)
		}
	}
	s.mu.Unlock()
	if waiting == nil {
		return nil, ErrQRExpired
	}
	if !bytes.Equal(parsed.noise, waiting.c.static[:]) || !bytes.Equal(parsed.identity, waiting.data.GetEIdent()) {
		return nil, fmt.Errorf("%w: keys of another client", ErrQR)
	}
	return p.link(ctx, waiting, parsed.adv)
}

// link runs the pairing after the secret is known, from a QR or a code.
func (p *Phone) link(ctx context.Context, waiting *pairing, adv []byte) (*Device, error) {
	id, err := p.acct.reserveDevice()
	if err != nil {
		return nil, err
	}
	container, details, err := p.signDevice(waiting.data.GetEIdent(), adv, id)
	if err != nil {
		return nil, err
	}
	c := waiting.c
	jid, lid := p.acct.pn(), p.acct.hidden()
	jid.Device, lid.Device = id, id
	c.push(waBinary.Node{
		Tag: "iq",
		Attrs: waBinary.Attrs{
			"from": types.ServerJID, "type": "set", "xmlns": "md", "id": waiting.id,
			"t": fmt.Sprint(p.acct.s.now()),
		},
		Content: []waBinary.Node{{Tag: "pair-success", Content: []waBinary.Node{
			{Tag: "device-identity", Content: container},
			{Tag: "device", Attrs: waBinary.Attrs{"jid": jid, "lid": lid}},
			{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}},
		}}},
	})
	ctx, cancel := context.WithTimeout(ctx, pairTimeout)
	defer cancel()
	var answer *waBinary.Node
	select {
	case answer = <-waiting.answer:
	case <-c.gone:
		return nil, fmt.Errorf("%w: it disconnected", ErrPairRefused)
	case <-ctx.Done():
		return nil, contextOrClosed(ctx, "the client's signature")
	}
	if err = p.checkSignature(answer, waiting.data.GetEIdent(), details); err != nil {
		c.end(true)
		return nil, err
	}
	d, err := p.register(waiting, id)
	if err != nil {
		return nil, err
	}
	c.end(false, streamError(515))
	return d, nil
}

// signDevice makes the device identity that proves to the client that this phone's
// owner scanned its QR.
func (p *Phone) signDevice(companion, adv []byte, id uint16) (container, details []byte, err error) {
	details, err = proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID: &p.acct.record.Raw, Timestamp: proto.Uint64(uint64(p.acct.s.now())), KeyIndex: proto.Uint32(uint32(id)),
		AccountType: waAdv.ADVEncryptionType_E2EE.Enum(), DeviceType: waAdv.ADVEncryptionType_E2EE.Enum(),
	})
	if err != nil {
		return nil, nil, err
	}
	own := p.store.identity
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*own.Priv), join([]byte{6, 0}, details, companion))
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: own.Pub[:], AccountSignature: signature[:],
	})
	if err != nil {
		return nil, nil, err
	}
	mac := hmac.New(sha256.New, adv)
	mac.Write(signed)
	container, err = proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	return container, details, err
}

// checkSignature verifies the client's half of the device identity.
func (p *Phone) checkSignature(answer *waBinary.Node, companion, details []byte) error {
	if text(answer, "type") != "result" {
		refusal := answer.GetChildByTag("error")
		return fmt.Errorf("%w: %s %s", ErrPairRefused, text(&refusal, "code"), text(&refusal, "text"))
	}
	raw, _ := answer.GetChildByTag("pair-device-sign", "device-identity").Content.([]byte)
	var signed waAdv.ADVSignedDeviceIdentity
	if err := proto.Unmarshal(raw, &signed); err != nil || len(signed.GetDeviceSignature()) != 64 {
		return fmt.Errorf("%w: it sent no device signature", ErrPairRefused)
	}
	signature := [64]byte(signed.GetDeviceSignature())
	message := join([]byte{6, 1}, details, companion, p.store.identity.Pub[:])
	if !bytes.Equal(signed.GetDetails(), details) ||
		!ecc.VerifySignature(ecc.NewDjbECPublicKey([32]byte(companion)), message, signature) {
		return fmt.Errorf("%w: its device signature is wrong", ErrPairRefused)
	}
	return nil
}

// register makes the companion durable and tells who has to know.
func (p *Phone) register(waiting *pairing, id uint16) (*Device, error) {
	a, data := p.acct, waiting.data
	d := newCompanion(a, deviceRecord{
		ID: id, Noise: waiting.c.static[:], Identity: data.GetEIdent(),
		Registration: binary.BigEndian.Uint32(data.GetERegid()),
		Signed: signedRecord{
			ID:  uint32(data.GetESkeyID()[0])<<16 | uint32(data.GetESkeyID()[1])<<8 | uint32(data.GetESkeyID()[2]),
			Pub: data.GetESkeyVal(), Signature: data.GetESkeySig(),
		},
		KeyIndex: uint32(id), Paired: a.s.now(),
	})
	a.mu.Lock()
	a.devices[id] = d
	b := a.s.begin()
	b.putJSON(d.key("d"), d.rec)
	a.mu.Unlock()
	o := a.s.outgoing(b)
	o.devicesChanged(a, "add", d)
	if err := o.commit(); err != nil {
		return nil, err
	}
	return d, nil
}

// reserveDevice gives out a device number, each once.
func (a *account) reserveDevice() (uint16, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.record.LastDevice == 255 { // the wire has one byte for it
		return 0, ErrTooManyDevices
	}
	a.record.LastDevice++
	b := a.s.begin()
	b.putJSON("a/"+a.number, a.record)
	return a.record.LastDevice, a.s.journal.commit(b)
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
