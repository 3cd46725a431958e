package simulator

import (
	"encoding/binary"
	"slices"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// protocolHandlers is where a phone learns another kind of protocol message. The phone's
// lock is held; what has to wait for its release goes into in.after.
func protocolHandlers() map[waE2E.ProtocolMessage_Type]func(*incoming, *waE2E.ProtocolMessage) {
	return map[waE2E.ProtocolMessage_Type]func(*incoming, *waE2E.ProtocolMessage){
		waE2E.ProtocolMessage_REVOKE:            (*incoming).revoke,
		waE2E.ProtocolMessage_MESSAGE_EDIT:      (*incoming).edit,
		waE2E.ProtocolMessage_EPHEMERAL_SETTING: (*incoming).setTimer,

		waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_REQUEST:          (*incoming).shareStateKeys,
		waE2E.ProtocolMessage_PEER_DATA_OPERATION_REQUEST_MESSAGE: (*incoming).peerRequest,
	}
}

func (in *incoming) protocol(m *waE2E.ProtocolMessage) {
	in.p.silent[in.key()] = true
	if handle := protocolHandlers()[m.GetType()]; handle != nil {
		handle(in, m)
	}
}

// target is the message that a key names, or nil. The key is written from its sender's
// point of view.
func (in *incoming) target(key *waCommon.MessageKey) *Message {
	p := in.p
	if participant := key.GetParticipant(); participant != "" && !key.GetFromMe() {
		return p.shown[shownKey{in.chat, p.acct.s.numberOf(participant), key.GetID()}]
	}
	if key.GetFromMe() {
		return p.shown[shownKey{in.chat, in.sender.acct.number, key.GetID()}]
	}
	for _, from := range []string{in.chat, p.acct.number} {
		if from != in.sender.acct.number {
			if m := p.shown[shownKey{in.chat, from, key.GetID()}]; m != nil {
				return m
			}
		}
	}
	return nil
}

// revoke takes back a message of the sender's own, or one that an admin may take back.
func (in *incoming) revoke(m *waE2E.ProtocolMessage) {
	target := in.target(m.GetKey())
	if target == nil || target.From != in.sender.acct.number && !in.p.acct.s.mayModerate(in.sender.acct, in.chat) {
		return
	}
	target.revoked()
	in.p.keep(in.o.b, target)
}

// revoked forgets what a message said.
func (m *Message) revoked() {
	m.Revoked, m.Text, m.Content, m.Location, m.Contacts, m.Poll, m.Media, m.Reactions = true, "", nil, nil, nil, nil, nil, nil
}

func (in *incoming) edit(m *waE2E.ProtocolMessage) {
	target := in.target(m.GetKey())
	if target == nil || target.From != in.sender.acct.number || target.Revoked {
		return
	}
	in.p.acct.s.edited(target, m.GetEditedMessage())
	in.p.keep(in.o.b, target)
}

// edited replaces what a message says.
func (s *Server) edited(target *Message, content *waE2E.Message) {
	inner, _ := unwrap(content)
	now := Message{ViewOnce: target.ViewOnce}
	if !s.describe(inner, &now) {
		return
	}
	target.Edited, target.Text, target.Mentions = true, now.Text, now.Mentions
	if now.Kind == target.Kind && now.Kind == KindText { // an edit of a caption comes without the medium
		target.Content = inner
	}
}

func (in *incoming) setTimer(m *waE2E.ProtocolMessage) {
	in.p.setTimer(in.o.b, in.chat, m.GetEphemeralExpiration())
}

// setTimer sets after how many seconds what is sent to a chat disappears; mu is held.
func (p *Phone) setTimer(b *batch, chat string, seconds uint32) {
	key := "e/" + p.acct.number + "/" + chat
	if seconds == 0 {
		delete(p.timers, chat)
		b.del(key)
		return
	}
	p.timers[chat] = seconds
	b.put(key, binary.BigEndian.AppendUint32(nil, seconds))
}

func (in *incoming) react(m *waE2E.ReactionMessage) {
	in.p.silent[in.key()] = true
	if target := in.target(m.GetKey()); target != nil && !target.Revoked {
		target.reacted(in.sender.acct.number, m.GetText())
		in.p.keep(in.o.b, target)
	}
}

// reacted notes a reaction; an empty one takes the last one back.
func (m *Message) reacted(from, emoji string) {
	if emoji == "" {
		delete(m.Reactions, from)
		return
	}
	if m.Reactions == nil {
		m.Reactions = map[string]string{}
	}
	m.Reactions[from] = emoji
}

func (in *incoming) vote(m *waE2E.PollUpdateMessage) {
	in.p.silent[in.key()] = true
	target := in.target(m.GetPollCreationMessageKey())
	if target == nil || target.Poll == nil {
		return
	}
	chosen, err := in.p.acct.s.openVote(target, in.sender.acct, m.GetVote())
	if err != nil {
		in.p.acct.s.log.Debug("phone cannot read a vote", "phone", in.p.acct.number, "message_id", in.id, "err", err)
		return
	}
	target.Poll.voted(in.sender.acct.number, chosen)
	in.p.keep(in.o.b, target)
}

// voted notes a vote, given by the hashes of the options; none takes the last one back.
func (p *Poll) voted(from string, hashes [][]byte) {
	if p.Votes == nil {
		p.Votes = map[string][]string{}
	}
	var chosen []string
	for _, o := range p.Options {
		if slices.ContainsFunc(hashes, func(h []byte) bool { return string(h) == string(optionHash(o)) }) {
			chosen = append(chosen, o)
		}
	}
	if chosen == nil {
		delete(p.Votes, from)
		return
	}
	p.Votes[from] = chosen
}

// addresses are the forms under which an account may have been named.
func (a *account) addresses() []types.JID { return []types.JID{a.pn(), a.hidden()} }
