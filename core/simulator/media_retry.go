package simulator

import (
	"crypto/rand"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
)

// MediaRetryAnswer is what a phone does when a companion asks it to upload a file anew.
type MediaRetryAnswer string

// The answers of a phone to [Phone.AnswerMediaRetries].
const (
	// MediaRetryUpload uploads the file if the phone has a copy, and says that it is not found if not.
	MediaRetryUpload MediaRetryAnswer = ""
	// MediaRetryNotFound and MediaRetryGeneralError answer with these results.
	MediaRetryNotFound     MediaRetryAnswer = "not-found"
	MediaRetryGeneralError MediaRetryAnswer = "general-error"
	// MediaRetryUnavailable answers as a phone does that does not have the message: without encryption, with code 2.
	MediaRetryUnavailable MediaRetryAnswer = "unavailable"
	// MediaRetrySilent does not answer, as a phone that is off.
	MediaRetrySilent MediaRetryAnswer = "silent"
)

// AnswerMediaRetries sets how the phone answers from now on; it is not kept over a restart.
func (p *Phone) AnswerMediaRetries(answer MediaRetryAnswer) error {
	switch answer {
	case MediaRetryUpload, MediaRetryNotFound, MediaRetryGeneralError, MediaRetryUnavailable, MediaRetrySilent:
	default:
		return fmt.Errorf("%w: answer %q", ErrMedia, answer)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retries = answer
	return nil
}

// takeMediaRetry answers a companion that could not download a file (whatsmeow: mediaretry.go): the phone uploads its
// copy anew, under the same key, and tells the new path, encrypted with a key that follows from the file's.
func (p *Phone) takeMediaRetry(from *Device, receipt *waBinary.Node) error {
	id := text(receipt, "id")
	rmr := receipt.GetChildByTag("rmr")
	jid, _ := rmr.Attrs["jid"].(types.JID)
	chat, err := p.acct.s.chat(jid.String())
	if err != nil {
		chat = chatRef{} // of no chat the phone has a message
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retries == MediaRetrySilent {
		return nil
	}
	node := waBinary.Node{
		Tag: "notification",
		Attrs: waBinary.Attrs{
			"from": p.acct.pn(), "type": "mediaretry", "id": id, "t": strconv.FormatInt(p.acct.s.now(), 10),
		},
	}
	m := p.find(chat.name, id)
	if m == nil || m.Media == nil || p.retries == MediaRetryUnavailable {
		node.Content = []waBinary.Node{rmr, {Tag: "error", Attrs: waBinary.Attrs{"code": "2"}}}
	} else {
		answer, err := p.retryMedia(m, receipt)
		if err != nil {
			return err
		}
		node.Content = []waBinary.Node{rmr, answer}
	}
	o := p.acct.s.outgoing(p.acct.s.begin())
	o.add(from, node)
	return o.commit()
}

// retryMedia makes the encrypted part of the answer; mu is held.
func (p *Phone) retryMedia(m *Message, receipt *waBinary.Node) (waBinary.Node, error) {
	file := attachmentOf(m.Content)
	key := hkdfutil.SHA256(file.GetMediaKey(), nil, []byte("WhatsApp Media Retry Notification"), 32)
	answer := &waMmsRetry.MediaRetryNotification{StanzaID: &m.ID}
	hash, kept := p.files[shownKey{m.Chat, m.From, m.ID}]
	switch {
	case !asksFor(receipt, key, m.ID):
		answer.Result = waMmsRetry.MediaRetryNotification_DECRYPTION_ERROR.Enum()
	case p.retries == MediaRetryGeneralError:
		answer.Result = waMmsRetry.MediaRetryNotification_GENERAL_ERROR.Enum()
	case p.retries == MediaRetryNotFound || !kept:
		answer.Result = waMmsRetry.MediaRetryNotification_NOT_FOUND.Enum()
	default:
		l, err := p.acct.s.link(hash, mmsType(whatsmeow.GetMediaType(file)))
		if err != nil {
			return waBinary.Node{}, fmt.Errorf("upload media anew: %w", err)
		}
		answer.Result, answer.DirectPath = waMmsRetry.MediaRetryNotification_SUCCESS.Enum(), proto.String(p.acct.s.mediaPath(l))
	}
	plain, err := proto.Marshal(answer)
	if err != nil {
		return waBinary.Node{}, fmt.Errorf("marshal answer to media retry: %w", err)
	}
	iv := make([]byte, 12)
	_, _ = rand.Read(iv) // never fails, by its contract
	sealed, err := gcmutil.Encrypt(key, iv, plain, []byte(m.ID))
	if err != nil {
		return waBinary.Node{}, fmt.Errorf("encrypt answer to media retry: %w", err)
	}
	return waBinary.Node{Tag: "encrypt", Content: []waBinary.Node{
		{Tag: "enc_p", Content: sealed}, {Tag: "enc_iv", Content: iv},
	}}, nil
}

// asksFor says whether the receipt was encrypted with the key of the file, for this message.
func asksFor(receipt *waBinary.Node, key []byte, id string) bool {
	sealed, _ := receipt.GetChildByTag("encrypt", "enc_p").Content.([]byte)
	iv, _ := receipt.GetChildByTag("encrypt", "enc_iv").Content.([]byte)
	if len(iv) != 12 { // of another length, GCM panics
		return false
	}
	plain, err := gcmutil.Decrypt(key, iv, sealed, []byte(id))
	if err != nil {
		return false
	}
	var request waMmsRetry.ServerErrorReceipt
	return proto.Unmarshal(plain, &request) == nil && request.GetStanzaID() == id
}
