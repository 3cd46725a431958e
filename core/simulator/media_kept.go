package simulator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"

	"go.mau.fi/whatsmeow"
)

// servedHash is the hash of what the media host serves for an attachment: of the plain file where it is not
// encrypted, as in newsletters.
func servedHash(file attachment) (hash mediaHash, ok bool) {
	raw := file.GetFileEncSHA256()
	if raw == nil && file.GetMediaKey() == nil {
		raw = file.GetFileSHA256()
	}
	if len(raw) != len(hash) {
		return hash, false
	}
	return mediaHash(raw), true
}

// linked says whether the media host serves an attachment where its message says.
func (s *Server) linked(file attachment) bool {
	hash, ok := servedHash(file)
	if !ok {
		return false
	}
	for _, path := range []string{file.GetDirectPath(), file.GetURL()} {
		if u, err := url.Parse(path); err == nil && path != "" {
			if l, status := s.findMedia(u); status == 0 && l.hash() == hash {
				return true
			}
		}
	}
	return false
}

// takeFile keeps a copy of the file of a message that is shown from now on, as a phone does that downloads at once;
// mu is held.
func (p *Phone) takeFile(m *Message) {
	if m.Media == nil {
		return
	}
	file := attachmentOf(m.Content)
	m.Media.Missing = !p.acct.s.linked(file) || !p.holdFile(m, file)
}

func (p *Phone) holdFile(m *Message, file attachment) bool {
	hash, ok := servedHash(file)
	if ok {
		_, ok = p.acct.s.media.hold(hash)
	}
	if ok {
		p.files[shownKey{m.Chat, m.From, m.ID}] = hash
	}
	return ok
}

// dropFile gives the phone's copy up; mu is held.
func (p *Phone) dropFile(m *Message) {
	key := shownKey{m.Chat, m.From, m.ID}
	if hash, ok := p.files[key]; ok {
		delete(p.files, key)
		p.acct.s.media.release(hash)
	}
}

// restoreKept holds again, after a start, the files that phones kept.
func (s *Server) restoreKept() {
	for _, a := range s.byNumber {
		for _, m := range a.phone.list {
			if m.Media == nil || m.Media.Missing || a.phone.holdFile(m, attachmentOf(m.Content)) {
				continue
			}
			m.Media.Missing = true // the disk lost it; found again at each start, so it need not be kept
		}
	}
}

// ForgetMedia removes the phone's copy of the file of a message, durably, as freeing space on a phone does: when the media
// host has it no longer either, a client that asks for it is told that it is not there.
func (p *Phone) ForgetMedia(chat, id string) error {
	ref, err := p.acct.s.chat(chat)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.find(ref.name, id)
	if m == nil || m.Media == nil {
		return fmt.Errorf("media %s in %s: %w", id, ref.name, ErrUnknownMessage)
	}
	if m.Media.Missing {
		return nil
	}
	info := *m.Media // copies of the message share the old one
	info.Missing = true
	m.Media = &info
	b := p.acct.s.begin()
	p.keep(b, m)
	if err = p.acct.s.journal.commit(b); err != nil {
		return err
	}
	p.dropFile(m)
	return nil
}

// Download returns the file of a message that the phone shows, decrypted and checked against everything that the message
// says of it. Its error is [ErrUnknownMedia] when neither the phone nor the media host has it, and [ErrMediaBroken]
// when it is not what the message says.
func (p *Phone) Download(ctx context.Context, m Message) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file := attachmentOf(m.Content)
	if file == nil {
		return nil, fmt.Errorf("message %s has no file: %w", m.ID, ErrUnknownMedia)
	}
	hash, ok := servedHash(file)
	if !ok {
		return nil, fmt.Errorf("message %s: hash of the file: %w", m.ID, ErrMediaBroken)
	}
	p.mu.Lock()
	kept := p.files[shownKey{m.Chat, m.From, m.ID}] == hash
	p.mu.Unlock()
	if !kept && !p.acct.s.linked(file) {
		return nil, fmt.Errorf("message %s: %w", m.ID, ErrUnknownMedia)
	}
	data, err := p.acct.s.readMedia(hash)
	if err == nil && file.GetMediaKey() != nil {
		data, err = decryptMedia(data, file.GetMediaKey(), whatsmeow.GetMediaType(file))
	}
	if err == nil && uint64(len(data)) != file.GetFileLength() {
		err = fmt.Errorf("%w: %d bytes, not %d", ErrMediaBroken, len(data), file.GetFileLength())
	}
	if sum := sha256.Sum256(data); err == nil && string(sum[:]) != string(file.GetFileSHA256()) {
		err = fmt.Errorf("%w: hash of the plain file", ErrMediaBroken)
	}
	if err != nil {
		return nil, fmt.Errorf("file of message %s: %w", m.ID, err)
	}
	return data, nil
}

// readMedia reads a file as it is served, and checks its hash.
func (s *Server) readMedia(hash mediaHash) ([]byte, error) {
	content, err := s.media.open(hash)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	data := make([]byte, size)
	if err == nil {
		_, err = io.ReadFull(content, data)
	}
	if err != nil {
		return nil, fmt.Errorf("read media: %w", err)
	}
	if sha256.Sum256(data) != hash {
		return nil, errors.Join(ErrMediaBroken, errors.New("hash of the served file"))
	}
	return data, nil
}
