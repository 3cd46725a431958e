package simulator

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// Errors of a phone that sends.
var (
	// ErrChat says that a chat does not exist, or that the phone may not write to it.
	ErrChat = errors.New("no such chat")
	// ErrMessage says that a message, as it was described, can not be sent; the text around it says why.
	ErrMessage = errors.New("not a message that can be sent")
	// ErrUnknownMessage says that the phone shows no message with this id in this chat.
	ErrUnknownMessage = errors.New("no such message")
)

// maxMessage is how long an encoded message may be. WhatsApp's own limit is not known; a frame
// has at most 16 MiB.
const maxMessage = 4 << 20

// SendOptions of one message; the zero value is an ordinary message.
type SendOptions struct {
	// ID is the message's id; empty makes one.
	ID string
	// Quote is the id of a message of the same chat, which the receiver is shown as answered.
	Quote string
	// Mentions are numbers that the message names.
	Mentions []string
	// Forwarded marks the message as passed on.
	Forwarded bool
	// ViewOnce shows a picture, video or voice note once only.
	ViewOnce bool
	// Expires is after how many seconds the message disappears; 0 is what was set for the chat.
	Expires uint32
	// ByLID sends under the phone's hidden identifier in place of its number.
	ByLID bool

	also func(*batch) // what becomes durable together with the message
}

// SendText sends a text to a chat, a number or a group's JID, and returns its id. When it
// returns, the message is encrypted and queued, durably, for every device that is to get
// it; messages of one phone keep the order of these calls.
func (p *Phone) SendText(ctx context.Context, to, text string, options ...SendOptions) (string, error) {
	var opts SendOptions
	if len(options) > 0 {
		opts = options[0]
	}
	return p.Send(ctx, to, &waE2E.Message{Conversation: &text}, opts)
}

// Send sends any message, as [Phone.SendText] does: the message belongs to the phone then.
func (p *Phone) Send(ctx context.Context, to string, msg *waE2E.Message, opts SendOptions) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.send(to, msg, opts)
}

// send is [Phone.Send] with mu held.
func (p *Phone) send(to string, msg *waE2E.Message, opts SendOptions) (string, error) {
	s := p.acct.s
	if msg == nil {
		return "", fmt.Errorf("%w: there is none", ErrMessage)
	}
	if strings.ContainsAny(opts.ID, "/ ") || len(opts.ID) > 128 {
		return "", fmt.Errorf("%w: an id has at most 128 characters, no space and no slash", ErrMessage)
	}
	chat, err := s.chat(to)
	if err != nil {
		return "", err
	}
	if chat.jid.Server == types.NewsletterServer {
		return p.sendNewsletter(chat.jid, msg, opts)
	}
	if opts.ID == "" {
		opts.ID = newMessageID()
	}
	opts.ByLID = opts.ByLID || p.migrated()
	m := &sentMessage{
		To: chat.name, Hidden: opts.ByLID, Time: s.now(), sessions: map[*Device]int{}, delivered: map[string]time.Time{},
	}
	if m.msg, err = p.dress(msg, chat, opts); err != nil {
		return "", err
	}
	if m.Raw, err = proto.Marshal(m.msg); err != nil {
		return "", fmt.Errorf("marshal message: %w", err)
	}
	if len(m.Raw) > maxMessage {
		return "", fmt.Errorf("%w: it has %d bytes, the most is %d", ErrMessage, len(m.Raw), maxMessage)
	}
	o := s.outgoing(p.begin())
	defer s.holdChat(chat)()
	if err = p.route(o, m, opts.ID, chat); err != nil {
		return "", err
	}
	shown := &Message{
		ID: opts.ID, Chat: chat.name, From: p.acct.number, Name: p.acct.pushName(), Time: time.Unix(m.Time, 0).UTC(), Copies: 1,
		author: p.acct.as(opts.ByLID || chat.hidden()),
	}
	inner, around := unwrap(m.msg)
	shown.ViewOnce = around.viewOnce
	if s.describe(inner, shown) && p.shown[shownKey{shown.Chat, shown.From, shown.ID}] == nil {
		p.addShown(shown)
		m.Shown = shown.record()
	}
	p.remember(o.b, opts.ID, m)
	if opts.also != nil {
		opts.also(o.b)
	}
	if err = o.commit(); err != nil {
		return "", err
	}
	p.notify()
	return opts.ID, nil
}

// route addresses m to every device that is to get it; mu is held.
func (p *Phone) route(o *outgoing, m *sentMessage, id string, chat chatRef) error {
	if chat.peer == nil {
		return p.routeMany(o, m, id, chat)
	}
	for _, d := range chat.peer.all() {
		if d != p.dev && chat.peer != p.acct && !chat.peer.blocks(p.acct) {
			if err := p.address(o, m, id, d, chat, false, 0); err != nil {
				return err
			}
		}
	}
	for _, d := range p.acct.all()[1:] {
		if err := p.address(o, m, id, d, chat, false, 0); err != nil {
			return err
		}
	}
	p.acct.meet(chat.peer, o.b)
	return nil
}

// chatRef is a chat that a message goes to.
type chatRef struct {
	name string   // as phones show it: a number, or the JID
	peer *account // the other end of a chat of two; nil for any other
	jid  types.JID

	byLID bool   // of a group
	timer uint32 // of a group: seconds after which messages disappear
}

// hidden says whether the chat's members are named by their hidden identifiers.
func (c chatRef) hidden() bool { return c.byLID }

// as is how the chat is named on the wire.
func (c chatRef) as(hidden bool) types.JID {
	if c.peer != nil {
		return c.peer.as(hidden)
	}
	return c.jid
}

// chat resolves what a caller names: a number, or the JID of a chat of any kind.
func (s *Server) chat(name string) (chatRef, error) {
	if jid, err := types.ParseJID(name); err == nil && jid.User != "" && jid.Server != "" {
		if a := s.findAccount(jid); a != nil {
			return chatRef{name: a.number, peer: a, jid: a.pn()}, nil
		}
		if jid.Server != types.DefaultUserServer && jid.Server != types.HiddenUserServer {
			return s.manyRef(jid), nil
		}
		name = jid.User
	}
	number, err := cleanNumber(name)
	if err != nil {
		return chatRef{}, err
	}
	a := s.account(number)
	if a == nil {
		return chatRef{}, fmt.Errorf("%s: %w", number, ErrUnknownNumber)
	}
	return chatRef{name: number, peer: a, jid: a.pn()}, nil
}

// dress adds to a message what the options ask for: a quote, mentions, an envelope; mu is held.
func (p *Phone) dress(msg *waE2E.Message, chat chatRef, opts SendOptions) (*waE2E.Message, error) {
	inner, _ := unwrap(msg)
	if inner.ProtocolMessage != nil || inner.ReactionMessage != nil || inner.PollUpdateMessage != nil {
		return msg, nil
	}
	if opts.Expires == 0 {
		opts.Expires = max(p.timers[chat.name], chat.timer)
	}
	if opts.Quote != "" || len(opts.Mentions) > 0 || opts.Forwarded || opts.Expires > 0 {
		if msg.Conversation != nil {
			msg.ExtendedTextMessage, msg.Conversation = &waE2E.ExtendedTextMessage{Text: msg.Conversation}, nil
		}
		slot := contextSlot(inner)
		if slot == nil {
			return nil, fmt.Errorf("%w: this kind of message cannot quote, mention, be forwarded or disappear", ErrMessage)
		}
		if *slot == nil {
			*slot = &waE2E.ContextInfo{}
		}
		if err := p.fillContext(*slot, chat, opts); err != nil {
			return nil, err
		}
	}
	if opts.ViewOnce {
		switch {
		case msg.ImageMessage != nil:
			msg.ImageMessage.ViewOnce = proto.Bool(true)
		case msg.VideoMessage != nil:
			msg.VideoMessage.ViewOnce = proto.Bool(true)
		case msg.AudioMessage != nil:
			msg.AudioMessage.ViewOnce = proto.Bool(true)
		default:
			return nil, fmt.Errorf("%w: only pictures, videos and voice notes can be seen once", ErrMessage)
		}
		if msg.AudioMessage != nil {
			msg = &waE2E.Message{ViewOnceMessageV2Extension: &waE2E.FutureProofMessage{Message: msg}}
		} else {
			msg = &waE2E.Message{ViewOnceMessageV2: &waE2E.FutureProofMessage{Message: msg}}
		}
	}
	if opts.Expires > 0 {
		msg = &waE2E.Message{EphemeralMessage: &waE2E.FutureProofMessage{Message: msg}}
	}
	return msg, nil
}

func (p *Phone) fillContext(info *waE2E.ContextInfo, chat chatRef, opts SendOptions) error {
	if opts.Quote != "" {
		m := p.find(chat.name, opts.Quote)
		if m == nil {
			return fmt.Errorf("quote %s of %s: %w", opts.Quote, chat.name, ErrUnknownMessage)
		}
		info.StanzaID, info.Participant, info.QuotedMessage = &opts.Quote, proto.String(m.author.ToNonAD().String()), m.Content
	}
	for _, number := range opts.Mentions {
		ref, err := p.acct.s.chat(number)
		if err != nil {
			return fmt.Errorf("mention: %w", err)
		}
		info.MentionedJID = append(info.MentionedJID, ref.as(opts.ByLID || chat.hidden()).String())
	}
	if opts.Forwarded {
		info.IsForwarded, info.ForwardingScore = proto.Bool(true), proto.Uint32(1)
	}
	if opts.Expires > 0 {
		info.Expiration = &opts.Expires
	}
	return nil
}

// address adds the stanza of m for one device; mu is held. renew opens the session anew,
// and count is the retry that it answers, 0 for none.
//
// What one phone sends another is not encrypted: both are of this process, and no
// client sees it.
func (p *Phone) address(o *outgoing, m *sentMessage, id string, d *Device, chat chatRef, renew bool, count int) error {
	kind, _ := stanzaType(m.msg)
	attrs := messageAttrs(p.dev, m.Hidden, id, strconv.FormatInt(m.Time, 10), kind)
	edit := editAttribute(m.msg)
	if edit != types.EditAttributeEmpty {
		attrs["edit"] = string(edit)
	}
	own := d.acct == p.acct
	if own {
		setRecipient(attrs, chat.as(m.Hidden), chat.peer)
	}
	plain := m.Raw
	if own {
		var err error
		if plain, err = proto.Marshal(&waE2E.Message{
			DeviceSentMessage: &waE2E.DeviceSentMessage{
				DestinationJID: proto.String(chat.as(m.Hidden).String()), Message: m.msg,
			},
			MessageContextInfo: m.msg.MessageContextInfo,
		}); err != nil {
			return fmt.Errorf("marshal message: %w", err)
		}
	}
	enc, err := p.seal(o, m, id, d, plain, renew)
	if err != nil {
		return err
	}
	if count > 0 {
		enc.Attrs["count"] = strconv.Itoa(count)
	}
	content := []waBinary.Node{dressEnc(m, enc)}
	if name, ok := p.acct.verifiedName(); ok && !own {
		content = append(content, name)
	}
	o.add(d, waBinary.Node{Tag: "message", Attrs: attrs, Content: content})
	return nil
}

// seal encrypts plain for a device, or leaves it as it is for another phone; mu is held.
func (p *Phone) seal(o *outgoing, m *sentMessage, id string, d *Device, plain []byte, renew bool) (waBinary.Node, error) {
	enc := waBinary.Node{Tag: "enc", Attrs: waBinary.Attrs{"v": "2", "type": "plain"}, Content: plain}
	if d.id == 0 {
		return enc, nil
	}
	ciphertext, kind, err := p.store.encrypt(d, plain, renew, func() (*bundle, error) {
		p.sessions[d]++
		return p.acct.s.issueBundle(d, o)
	})
	if err != nil {
		return enc, err
	}
	p.acct.s.watchCipher(p.dev, d, id, ciphertext)
	enc.Content, enc.Attrs["type"] = ciphertext, kind
	if m.sessions == nil {
		m.sessions = map[*Device]int{}
	}
	m.sessions[d] = p.sessions[d]
	return enc, nil
}

// sendPeer sends a companion what is for it alone, outside of any chat: keys of the app
// state, history, answers to its requests (send.go of whatsmeow, preparePeerMessageNode).
func (p *Phone) sendPeer(d *Device, content *waE2E.ProtocolMessage) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.acct.s.outgoing(p.begin())
	id, err := p.addPeer(o, d, content)
	if err != nil {
		return "", err
	}
	return id, o.commit()
}

// addPeer adds a new peer message to o; mu is held.
func (p *Phone) addPeer(o *outgoing, d *Device, content *waE2E.ProtocolMessage) (string, error) {
	msg := &waE2E.Message{ProtocolMessage: content}
	raw, err := proto.Marshal(msg)
	if err != nil {
		return "", fmt.Errorf("marshal peer message: %w", err)
	}
	id := newMessageID()
	m := &sentMessage{To: p.acct.number, Raw: raw, msg: msg, Time: p.acct.s.now(), Peer: true}
	if err = p.addressPeer(o, m, id, d, false, 0); err != nil {
		return "", err
	}
	p.remember(o.b, id, m)
	return id, nil
}

// addressPeer adds the stanza of a peer message; mu is held.
func (p *Phone) addressPeer(o *outgoing, m *sentMessage, id string, d *Device, renew bool, count int) error {
	attrs := messageAttrs(p.dev, false, id, strconv.FormatInt(m.Time, 10), "text")
	attrs["category"], attrs["push_priority"] = "peer", "high"
	enc, err := p.seal(o, m, id, d, m.Raw, renew)
	if err != nil {
		return err
	}
	if count > 0 {
		enc.Attrs["count"] = strconv.Itoa(count)
	}
	o.add(d, waBinary.Node{Tag: "message", Attrs: attrs, Content: []waBinary.Node{enc}})
	return nil
}

func isHidden(jid types.JID) bool { return jid.Server == types.HiddenUserServer }
