package simulator

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"go.mau.fi/libsignal/ecc"
	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
)

// LinkFault is a way in which a phone signs wrongly.
type LinkFault string

// What a phone can do wrong, and what a client answers (whatsmeow's pair.go).
const (
	// LinkWrongHMAC signs with another secret than the QR's: 401 hmac-mismatch.
	LinkWrongHMAC LinkFault = "hmac"
	// LinkWrongSignature signs another device than the client's: 401 signature-mismatch.
	LinkWrongSignature LinkFault = "signature"
	// LinkMalformed sends what is no device identity: 500 internal-error.
	LinkMalformed LinkFault = "malformed"
)

// SpoilLink makes the phone's next pairing go wrong, and only that. [Phone.LinkQR] and
// [Phone.EnterCode] then return ErrPairRefused with the client's answer.
func (p *Phone) SpoilLink(how LinkFault) {
	p.acct.mu.Lock()
	defer p.acct.mu.Unlock()
	p.acct.spoil = how
}

func (a *account) takeSpoil() LinkFault {
	a.mu.Lock()
	defer a.mu.Unlock()
	how := a.spoil
	a.spoil = ""
	return how
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
	own, spoil := p.store.identity, p.acct.takeSpoil()
	if spoil == LinkWrongSignature {
		companion = own.Pub[:]
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*own.Priv), join([]byte{6, 0}, details, companion))
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: details, AccountSignatureKey: own.Pub[:], AccountSignature: signature[:],
	})
	if err != nil {
		return nil, nil, err
	}
	switch spoil {
	case LinkWrongHMAC:
		adv = own.Pub[:]
	case LinkMalformed:
		signed = []byte("malformed")
	case LinkWrongSignature:
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

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
