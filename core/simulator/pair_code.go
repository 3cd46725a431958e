package simulator

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/curve25519"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// Errors of pairing by code.
var (
	// ErrCode says that a text is not a pairing code: eight characters, with or without a
	// dash in the middle.
	ErrCode = errors.New("not a pairing code")
	// ErrCodeUnknown says that no client waits for a code of this number.
	ErrCodeUnknown = errors.New("no client waits for a pairing code of this number")
	// ErrCodeWrong says that the client that waits shows another code. It goes on waiting.
	ErrCodeWrong = errors.New("pairing code is wrong")
	// ErrCodeExpired says that the client that showed the code is gone.
	ErrCodeExpired = errors.New("pairing code has expired")
)

// What whatsmeow's pair-code.go has as constants.
const (
	linkCodeTag    = "link_code_companion_reg"
	linkCodeLen    = 8
	linkCodeRounds = 2 << 16
	linkCodeDigits = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
	wrappedKeyLen  = 32 + 16 + 32        // salt, IV, key
	keyBundleLen   = 32 + 12 + 3*32 + 16 // salt, nonce, three keys, tag
	keyBundleInfo  = "link_code_pairing_key_bundle_encryption_key"
)

// displayName is the form of a client's name that WhatsApp accepts: a common browser and
// a system, "Chrome (Linux)" for instance. Which ones it counts as common is not known.
var displayName = regexp.MustCompile(`^(Chrome|Chromium|Edge|Firefox|IE|Internet Explorer|Opera|Safari|Electron) \([A-Z][A-Za-z0-9 ._-]*\)$`)

// codePairing is a client that shows a code.
type codePairing struct {
	waiting *pairing // nil once its connection ended
	ref     string
	wrapped []byte // the client's ephemeral key, encrypted with the code
}

// handleLinkCode takes companion_hello and companion_finish of a client that pairs by code.
func (s *Server) handleLinkCode(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	reg := iq.GetChildByTag(linkCodeTag)
	if c.pair == nil || iq.Attrs["type"] != "set" {
		return nil, errBadRequest
	}
	switch text(&reg, "stage") {
	case "companion_hello":
		return s.companionHello(c, &reg)
	case "companion_finish":
		return nil, s.companionFinish(c, &reg)
	}
	return nil, errBadRequest
}

// companionHello notes that a client shows a code for a number. A newer one takes the
// place of what the number waited for before.
func (s *Server) companionHello(c *conn, reg *waBinary.Node) ([]waBinary.Node, error) {
	wrapped, _ := reg.GetChildByTag("link_code_pairing_wrapped_companion_ephemeral_pub").Content.([]byte)
	auth, _ := reg.GetChildByTag("companion_server_auth_key_pub").Content.([]byte)
	platform, _ := strconv.Atoi(textContent(reg, "companion_platform_id"))
	if len(wrapped) != wrappedKeyLen || !bytes.Equal(auth, c.static[:]) || platform < 0 || platform > 9 ||
		!displayName.MatchString(textContent(reg, "companion_platform_display")) {
		return nil, errBadRequest
	}
	jid, _ := reg.Attrs["jid"].(types.JID)
	a := s.findAccount(jid)
	if a == nil {
		return nil, errNotFound
	}
	var raw [15]byte
	_, _ = rand.Read(raw[:])
	code := &codePairing{waiting: c.pair, ref: "3@" + base64.RawURLEncoding.EncodeToString(raw[:]), wrapped: wrapped}
	s.mu.Lock()
	s.dropCode(c.pair)
	a.code = code
	c.pair.codeOf = a
	s.mu.Unlock()
	return []waBinary.Node{{Tag: linkCodeTag, Attrs: waBinary.Attrs{"stage": "companion_hello"}, Content: []waBinary.Node{
		{Tag: "link_code_pairing_ref", Content: []byte(code.ref)},
	}}}, nil
}

// companionFinish hands the client's half of the secret to the phone that entered a code.
func (s *Server) companionFinish(c *conn, reg *waBinary.Node) error {
	bundle, _ := reg.GetChildByTag("link_code_pairing_wrapped_key_bundle").Content.([]byte)
	identity, _ := reg.GetChildByTag("companion_identity_public").Content.([]byte)
	s.mu.RLock()
	known := c.pair.codeOf != nil && c.pair.codeOf.code != nil && c.pair.codeOf.code.ref == textContent(reg, "link_code_pairing_ref")
	s.mu.RUnlock()
	if !known || len(bundle) != keyBundleLen || !bytes.Equal(identity, c.pair.data.GetEIdent()) {
		return errBadRequest
	}
	select {
	case c.pair.finish <- reg:
	default: // nobody has asked
	}
	return nil
}

// dropCode makes the code of a client that is gone, or shows another, expire; mu is held.
func (s *Server) dropCode(p *pairing) {
	if a := p.codeOf; a != nil && a.code != nil && a.code.waiting == p {
		a.code.waiting = nil
	}
}

// EnterCode types the code that a client shows for this number: it makes the client a
// companion, as [Phone.LinkQR] does, and returns the companion once it has signed. Case does not
// matter, nor does the dash. After ErrCodeWrong it may be tried again.
func (p *Phone) EnterCode(ctx context.Context, code string) (*Device, error) {
	code, err := cleanCode(code)
	if err != nil {
		return nil, err
	}
	s := p.acct.s
	p.acct.entering.Lock() // a second attempt would take the answer to the first
	defer p.acct.entering.Unlock()
	s.mu.RLock()
	var shown codePairing
	known, claimed := p.acct.code != nil, false
	if known {
		shown = *p.acct.code
		claimed = shown.waiting != nil && shown.waiting.claimed
	}
	s.mu.RUnlock()
	switch {
	case !known:
		return nil, ErrCodeUnknown
	case shown.waiting == nil || claimed:
		return nil, ErrCodeExpired
	}
	adv, err := p.exchange(ctx, &shown, code)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	ours := s.claimLocked(shown.waiting)
	if ours && p.acct.code != nil && p.acct.code.ref == shown.ref {
		p.acct.code = nil
	}
	s.mu.Unlock()
	if !ours {
		return nil, ErrCodeExpired
	}
	return p.link(ctx, shown.waiting, adv)
}

// exchange agrees with the client on the secret that a QR would carry.
func (p *Phone) exchange(ctx context.Context, shown *codePairing, code string) ([]byte, error) {
	waiting, s := shown.waiting, p.acct.s
	theirs, err := codeCipher(code, shown.wrapped[:32], shown.wrapped[32:48], shown.wrapped[48:])
	if err != nil {
		return nil, err
	}
	own := keys.NewKeyPair()
	var salt [48]byte // with the IV
	_, _ = rand.Read(salt[:])
	wrapped, err := codeCipher(code, salt[:32], salt[32:], own.Pub[:])
	if err != nil {
		return nil, err
	}
	select {
	case <-waiting.finish: // the answer to an attempt that was given up
	default:
	}
	waiting.c.push(waBinary.Node{
		Tag: "notification",
		Attrs: waBinary.Attrs{
			"from": types.ServerJID, "type": linkCodeTag, "id": s.stanzaID(), "t": strconv.FormatInt(s.now(), 10),
		},
		Content: []waBinary.Node{{Tag: linkCodeTag, Attrs: waBinary.Attrs{"stage": "primary_hello"}, Content: []waBinary.Node{
			{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: join(salt[:], wrapped)},
			{Tag: "primary_identity_pub", Content: p.store.identity.Pub[:]},
			{Tag: "link_code_pairing_ref", Content: []byte(shown.ref)},
		}}},
	})
	answer, err := waiting.await(ctx, waiting.finish, "the client's keys")
	if err != nil {
		return nil, err
	}
	bundle, _ := answer.GetChildByTag("link_code_pairing_wrapped_key_bundle").Content.([]byte)
	return p.openBundle(own, theirs, bundle, waiting.data.GetEIdent())
}

// openBundle reads the client's half and derives the secret.
func (p *Phone) openBundle(own *keys.KeyPair, theirs, bundle, companion []byte) ([]byte, error) {
	shared, err := curve25519.X25519(own.Priv[:], theirs)
	if err != nil {
		return nil, ErrCodeWrong // a wrong code makes any 32 bytes of the client's key
	}
	key, err := hkdf.Key(sha256.New, shared, bundle[:32], keyBundleInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	plain, err := gcm.Open(nil, bundle[32:44], bundle[44:], nil)
	if err != nil {
		return nil, ErrCodeWrong
	}
	identity, primary, random := plain[:32], plain[32:64], plain[64:]
	if !bytes.Equal(identity, companion) || !bytes.Equal(primary, p.store.identity.Pub[:]) {
		return nil, fmt.Errorf("%w: keys of another client or phone", ErrPairRefused)
	}
	long, err := curve25519.X25519(p.store.identity.Priv[:], companion)
	if err != nil {
		return nil, fmt.Errorf("%w: identity key: %w", ErrPairRefused, err)
	}
	return hkdf.Key(sha256.New, join(shared, long, random), nil, "adv_secret", 32)
}

// codeCipher encrypts a key with a code, or decrypts it.
func codeCipher(code string, salt, iv, key []byte) ([]byte, error) {
	secret, err := pbkdf2.Key(sha256.New, code, salt, linkCodeRounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(key))
	cipher.NewCTR(block, iv).XORKeyStream(out, key)
	return out, nil
}

// cleanCode brings a code into the form that clients derive keys from.
func cleanCode(code string) (string, error) {
	code = strings.ToUpper(strings.TrimSpace(code))
	if len(code) == linkCodeLen+1 && code[4] == '-' {
		code = code[:4] + code[5:]
	}
	if len(code) != linkCodeLen || strings.Trim(code, linkCodeDigits) != "" {
		return "", ErrCode
	}
	return code, nil
}

// textContent is the text inside of a child.
func textContent(n *waBinary.Node, tag string) string {
	switch v := n.GetChildByTag(tag).Content.(type) {
	case []byte:
		return string(v)
	case string:
		return v
	}
	return ""
}
