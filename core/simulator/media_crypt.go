package simulator

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/util/cbcutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
)

// ErrMediaBroken says that a media file is not what its message says: another length, another hash,
// or a key that does not fit.
var ErrMediaBroken = errors.New("media file does not match its message")

// mediaMAC is the length of the authentication code behind the ciphertext.
const mediaMAC = 10

// mediaKeys are what a media key expands to (whatsmeow: download.go, getMediaKeys).
type mediaKeys struct{ iv, cipher, mac []byte }

func expandMediaKey(key []byte, kind whatsmeow.MediaType) mediaKeys {
	k := hkdfutil.SHA256(key, nil, []byte(kind), 112)
	return mediaKeys{k[:16], k[16:48], k[48:80]}
}

// uploadedMedia is what a message says of a file that was uploaded for it.
type uploadedMedia struct {
	URL, DirectPath        string
	Key, SHA256, EncSHA256 []byte
	Size                   uint64 // of the plain file
	link                   string // the upload's id
}

// uploadMedia encrypts a file with a new key and puts it on the media host. It reads it as
// a stream, so that its size costs no memory where the server has a folder.
func (s *Server) uploadMedia(kind whatsmeow.MediaType, plain io.Reader) (*uploadedMedia, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its contract
	return s.uploadMediaWith(key, kind, plain)
}

func (s *Server) uploadMediaWith(key []byte, kind whatsmeow.MediaType, plain io.Reader) (*uploadedMedia, error) {
	part, err := s.media.part(s.opts.MediaLimit)
	if err != nil {
		return nil, err
	}
	defer part.discard()
	k := expandMediaKey(key, kind)
	up := &uploadedMedia{Key: key}
	if up.SHA256, up.EncSHA256, up.Size, _, err = cbcutil.EncryptStream(k.cipher, k.iv, k.mac, plain, part); err != nil {
		return nil, fmt.Errorf("encrypt media: %w", err)
	}
	l, err := s.publish(part, mmsType(kind))
	if err != nil {
		return nil, err
	}
	up.link, up.URL, up.DirectPath = l.ID, s.mediaURL(l), s.mediaPath(l)
	return up, nil
}

// decryptMedia checks and decrypts what the media host serves: ciphertext and authentication code.
// Unlike whatsmeow it also checks the padding. It works in place.
func decryptMedia(data, key []byte, kind whatsmeow.MediaType) ([]byte, error) {
	if len(data) < aes.BlockSize+mediaMAC || (len(data)-mediaMAC)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrMediaBroken, len(data))
	}
	k := expandMediaKey(key, kind)
	data, code := data[:len(data)-mediaMAC], data[len(data)-mediaMAC:]
	h := hmac.New(sha256.New, k.mac)
	h.Write(k.iv)
	h.Write(data)
	if !hmac.Equal(h.Sum(nil)[:mediaMAC], code) {
		return nil, fmt.Errorf("%w: authentication code", ErrMediaBroken)
	}
	block, err := aes.NewCipher(k.cipher)
	if err != nil {
		return nil, fmt.Errorf("media key: %w", err)
	}
	cipher.NewCBCDecrypter(block, k.iv).CryptBlocks(data, data)
	n := int(data[len(data)-1])
	if n == 0 || n > aes.BlockSize || !bytes.Equal(data[len(data)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, fmt.Errorf("%w: padding", ErrMediaBroken)
	}
	return data[:len(data)-n], nil
}
