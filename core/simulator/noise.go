package simulator

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"go.mau.fi/libsignal/ecc"
	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/hkdf"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/keys"
)

var errHandshake = errors.New("noise handshake")

// noise is the symmetric state of Noise_XX_25519_AESGCM_SHA256.
type noise struct {
	hash, salt []byte
	key        cipher.AEAD
	counter    uint32
}

func newNoise(header []byte) (*noise, error) {
	n := &noise{hash: []byte(socket.NoiseStartPattern), salt: []byte(socket.NoiseStartPattern)}
	var err error
	if n.key, err = gcmutil.Prepare(n.hash); err != nil {
		return nil, err
	}
	n.authenticate(header)
	return n, nil
}

func (n *noise) authenticate(data []byte) {
	sum := sha256.New()
	sum.Write(n.hash)
	sum.Write(data)
	n.hash = sum.Sum(nil)
}

func (n *noise) encrypt(plain []byte) []byte {
	out := n.key.Seal(nil, frameIV(n.counter), plain, n.hash)
	n.counter++
	n.authenticate(out)
	return out
}

func (n *noise) decrypt(ciphertext []byte) ([]byte, error) {
	out, err := n.key.Open(nil, frameIV(n.counter), ciphertext, n.hash)
	n.counter++
	if err == nil {
		n.authenticate(ciphertext)
	}
	return out, err
}

func (n *noise) mix(priv *[32]byte, pub []byte) error {
	secret, err := curve25519.X25519(priv[:], pub)
	if err != nil {
		return err
	}
	salt, key, err := n.expand(secret)
	if err != nil {
		return err
	}
	n.counter, n.salt = 0, salt
	n.key, err = gcmutil.Prepare(key)
	return err
}

func (n *noise) expand(data []byte) (first, second []byte, err error) {
	out := make([]byte, 64)
	if _, err = io.ReadFull(hkdf.New(sha256.New, data, n.salt, nil), out); err != nil {
		return nil, nil, err
	}
	return out[:32], out[32:], nil
}

func frameIV(counter uint32) []byte {
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[8:], counter)
	return iv
}

// peer is what the handshake learned about the client.
type peer struct {
	static  [32]byte
	payload *waWa6.ClientPayload
	in, out cipher.AEAD
}

// respond is the server's half of the handshake. read returns the next frame's
// payload and write sends one.
func respond(id *identity, read func() ([]byte, error), write func([]byte) error) (*peer, error) {
	n, err := newNoise(socket.WAConnHeader)
	if err != nil {
		return nil, err
	}
	frame, err := read()
	if err != nil {
		return nil, err
	}
	var hello waWa6.HandshakeMessage
	if err = proto.Unmarshal(frame, &hello); err != nil {
		return nil, fmt.Errorf("%w: client hello: %w", errHandshake, err)
	}
	theirs := hello.GetClientHello().GetEphemeral()
	if len(theirs) != 32 {
		return nil, fmt.Errorf("%w: client hello without ephemeral key", errHandshake)
	}
	n.authenticate(theirs)
	ours := keys.NewKeyPair()
	n.authenticate(ours.Pub[:])
	if err = n.mix(ours.Priv, theirs); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	static := n.encrypt(id.static.Pub[:])
	if err = n.mix(id.static.Priv, theirs); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	frame, err = proto.Marshal(&waWa6.HandshakeMessage{ServerHello: &waWa6.HandshakeMessage_ServerHello{
		Ephemeral: ours.Pub[:], Static: static, Payload: n.encrypt(id.chain),
	}})
	if err != nil {
		return nil, err
	}
	if err = write(frame); err != nil {
		return nil, err
	}
	if frame, err = read(); err != nil {
		return nil, err
	}
	return finish(n, ours, frame)
}

func finish(n *noise, ours *keys.KeyPair, frame []byte) (*peer, error) {
	var end waWa6.HandshakeMessage
	if err := proto.Unmarshal(frame, &end); err != nil {
		return nil, fmt.Errorf("%w: client finish: %w", errHandshake, err)
	}
	static, err := n.decrypt(end.GetClientFinish().GetStatic())
	if err != nil || len(static) != 32 {
		return nil, fmt.Errorf("%w: client's static key does not decrypt", errHandshake)
	}
	if err = n.mix(ours.Priv, static); err != nil {
		return nil, fmt.Errorf("%w: %w", errHandshake, err)
	}
	raw, err := n.decrypt(end.GetClientFinish().GetPayload())
	if err != nil {
		return nil, fmt.Errorf("%w: client payload does not decrypt", errHandshake)
	}
	p := &peer{static: [32]byte(static), payload: new(waWa6.ClientPayload)}
	if err = proto.Unmarshal(raw, p.payload); err != nil {
		return nil, fmt.Errorf("%w: client payload: %w", errHandshake, err)
	}
	clientWrites, serverWrites, err := n.expand(nil)
	if err != nil {
		return nil, err
	}
	if p.in, err = gcmutil.Prepare(clientWrites); err != nil {
		return nil, err
	}
	p.out, err = gcmutil.Prepare(serverWrites)
	return p, err
}

// identity is the server's keys: the root that clients trust, the intermediate
// that it signs, and the static key of the handshake that the intermediate signs.
type identity struct {
	root, intermediate, static *keys.KeyPair
	chain                      []byte
}

// newIdentity builds the certificate chain over the three keys.
func newIdentity(root, intermediate, static *keys.KeyPair, notBefore uint64) (*identity, error) {
	const tenYears = 10 * 365 * 24 * 3600
	sign := func(by *keys.KeyPair, serial, issuer uint32, key []byte) (*waCert.CertChain_NoiseCertificate, error) {
		details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
			Serial: &serial, IssuerSerial: &issuer, Key: key,
			NotBefore: &notBefore, NotAfter: proto.Uint64(notBefore + tenYears),
		})
		if err != nil {
			return nil, err
		}
		signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*by.Priv), details)
		return &waCert.CertChain_NoiseCertificate{Details: details, Signature: signature[:]}, nil
	}
	middle, err := sign(root, 1, 0, intermediate.Pub[:])
	if err != nil {
		return nil, err
	}
	leaf, err := sign(intermediate, 2, 1, static.Pub[:])
	if err != nil {
		return nil, err
	}
	chain, err := proto.Marshal(&waCert.CertChain{Leaf: leaf, Intermediate: middle})
	if err != nil {
		return nil, err
	}
	return &identity{root, intermediate, static, chain}, nil
}
