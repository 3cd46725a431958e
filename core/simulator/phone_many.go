package simulator

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

// How a phone writes to chats with many: groups and the status.

// holdChat keeps the members of a chat as they are until the function that it returns is
// called. A phone's lock may be held; the caller does not ask for a chat in between.
func (s *Server) holdChat(chat chatRef) func() {
	if chat.peer != nil {
		return func() {}
	}
	s.groups.mu.RLock()
	return s.groups.mu.RUnlock
}

// audience returns the devices that get what the phone writes to a chat, its own excepted, or
// why it may not write there; the chat is held.
func (p *Phone) audience(chat chatRef, msg *waE2E.Message) ([]*Device, error) {
	s := p.acct.s
	var accounts []*account
	switch {
	case chat.jid == types.StatusBroadcastJID:
		accounts = append(p.acct.statusAudience(), p.acct)
	case chat.jid.Server == types.GroupServer:
		g := s.groups.byID[chat.jid.User]
		kind, _ := stanzaType(msg)
		if err := g.refuses(p.acct, kind, string(editAttribute(msg))); err != nil {
			return nil, fmt.Errorf("write to %s: %w", chat.name, err)
		}
		accounts = g.accounts(s)
	default:
		return nil, fmt.Errorf("%s: %w", chat.name, ErrChat)
	}
	var out []*Device
	for _, d := range devicesOf(accounts) {
		if d != p.dev {
			out = append(out, d)
		}
	}
	return out, nil
}

// routeMany encrypts m once for all companions of a chat, gives the key to those that lack it,
// and hands it to other phones as it is; mu is held, and so is the chat.
func (p *Phone) routeMany(o *outgoing, m *sentMessage, id string, chat chatRef) error {
	devices, err := p.audience(chat, m.msg)
	if err != nil {
		return err
	}
	out := p.multicast(o, m, id, chat)
	var companions []*Device
	for _, d := range devices {
		if d.id != 0 {
			companions = append(companions, d)
			continue
		}
		out.sendOne(d, []waBinary.Node{dressEnc(m, waBinary.Node{
			Tag: "enc", Attrs: waBinary.Attrs{"v": "2", "type": "plain"}, Content: m.Raw,
		})})
	}
	if len(companions) == 0 {
		return nil
	}
	name := chat.jid.String()
	lacking := p.store.giveKey(name, p.dev, companions)
	if len(lacking) > 0 {
		if err = p.giveKeys(out, m, name, lacking); err != nil {
			return err
		}
	}
	ciphertext, err := p.store.encryptForMany(name, p.dev, m.Raw)
	if err != nil {
		return err
	}
	if chat.jid == types.StatusBroadcastJID {
		out.listRecipients(p.acct.statusAudience())
	}
	out.shared = []waBinary.Node{dressEnc(m, waBinary.Node{
		Tag: "enc", Attrs: waBinary.Attrs{"v": "2", "type": "skmsg"}, Content: ciphertext,
	})}
	out.send(companions)
	return nil
}

// giveKeys adds the phone's key of a chat for devices; mu is held.
func (p *Phone) giveKeys(out *multicast, m *sentMessage, name string, devices []*Device) error {
	share, err := p.distribution(name)
	if err != nil {
		return err
	}
	plain, err := proto.Marshal(&waE2E.Message{SenderKeyDistributionMessage: share})
	if err != nil {
		return fmt.Errorf("marshal sender key: %w", err)
	}
	for _, d := range devices {
		enc, err := p.seal(out.o, m, out.id, d, plain, false)
		if err != nil {
			return err
		}
		out.own[d] = []waBinary.Node{enc}
	}
	p.store.gave(name, devices...)
	return nil
}

func (p *Phone) distribution(name string) (*waE2E.SenderKeyDistributionMessage, error) {
	raw, err := p.store.shareKey(name, p.dev)
	if err != nil {
		return nil, err
	}
	return &waE2E.SenderKeyDistributionMessage{GroupID: &name, AxolotlSenderKeyDistributionMessage: raw}, nil
}

// multicast is m on its way.
func (p *Phone) multicast(o *outgoing, m *sentMessage, id string, chat chatRef) *multicast {
	kind, _ := stanzaType(m.msg)
	out := &multicast{
		s: p.acct.s, o: o, chat: chat.jid, byLID: chat.hidden(), mode: chat.jid.Server == types.GroupServer,
		from: p.dev, id: id, t: strconv.FormatInt(m.Time, 10), kind: kind, own: map[*Device][]waBinary.Node{},
		pass: waBinary.Attrs{},
	}
	if edit := editAttribute(m.msg); edit != types.EditAttributeEmpty {
		out.pass["edit"] = string(edit)
	}
	return out
}

// dressEnc adds what the ciphertext of m says about it.
func dressEnc(m *sentMessage, enc waBinary.Node) waBinary.Node {
	kind, media := stanzaType(m.msg)
	if media != "" {
		enc.Attrs["mediatype"] = media
	}
	if editAttribute(m.msg) != types.EditAttributeEmpty || kind == "reaction" || m.msg.PollUpdateMessage != nil {
		enc.Attrs["decrypt-fail"] = string(events.DecryptFailHide)
	}
	return enc
}

// resendMany answers a device that could not read m: the message encrypted for it alone, and
// the key for what comes next (retry.go of whatsmeow). mu is held, and so is the chat.
func (p *Phone) resendMany(o *outgoing, m *sentMessage, id string, d *Device, chat chatRef, renew bool, count int) error {
	devices, _ := p.audience(chat, m.msg) // nobody, when the phone has left since
	if !slices.Contains(devices, d) {
		return nil // it was removed since
	}
	name := chat.jid.String()
	p.store.giveKey(name, p.dev, companionsOf(devices))
	share, err := p.distribution(name)
	if err != nil {
		return err
	}
	msg := proto.Clone(m.msg).(*waE2E.Message)
	msg.SenderKeyDistributionMessage = share
	plain, err := proto.Marshal(msg)
	if err != nil {
		return fmt.Errorf("marshal message: %w", err)
	}
	enc, err := p.seal(o, m, id, d, plain, renew)
	if err != nil {
		return err
	}
	p.store.gave(name, d)
	enc.Attrs["count"] = strconv.Itoa(count)
	p.multicast(o, m, id, chat).sendOne(d, []waBinary.Node{dressEnc(m, enc)})
	return nil
}

func companionsOf(devices []*Device) []*Device {
	var out []*Device
	for _, d := range devices {
		if d.id != 0 {
			out = append(out, d)
		}
	}
	return out
}

// mayModerate says whether an account may take back other people's messages of a chat.
func (s *Server) mayModerate(a *account, chat string) bool {
	jid, err := types.ParseJID(chat)
	if err == nil && jid.Server == types.NewsletterServer {
		return s.editNewsletter(jid.User, func(n *newsletter, _ *outgoing) error {
			if !n.mayWrite(a.number) {
				return ErrNotAdmin
			}
			return nil
		}) == nil
	}
	if err != nil || jid.Server != types.GroupServer {
		return false
	}
	return s.viewGroup(jid.User, func(g *groupRecord) error {
		if !g.isAdmin(a.number) {
			return ErrNotAdmin
		}
		return nil
	}) == nil
}

// learnKey takes the key that came with a message to many.
func (in *incoming) learnKey(msg *waE2E.Message) {
	share := msg.GetSenderKeyDistributionMessage()
	if share == nil || in.from.Server != types.GroupServer && in.from.Server != types.BroadcastServer {
		return
	}
	if err := in.p.store.learnKey(in.from.String(), in.sender, share.GetAxolotlSenderKeyDistributionMessage()); err != nil {
		in.p.acct.s.log.Debug("phone cannot use a sender key", "phone", in.p.acct.number, "message_id", in.id, "err", err)
	}
}
