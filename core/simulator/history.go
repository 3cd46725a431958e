package simulator

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/proto/waWeb"
)

// How many messages of a chat go into the first part of the history, into the second, and
// into each part of the rest.
const (
	historyFirst  = 20
	historyRecent = 200
	historyChunk  = 5000
)

// History is what [Phone.PushHistory] sends.
type History struct {
	// Type says which part of the past this is. The zero value is INITIAL_BOOTSTRAP.
	Type waHistorySync.HistorySync_HistorySyncType
	// Chats are the numbers and groups whose messages are sent; none means all.
	Chats []string
	// Limit is how many messages of each chat are sent, the newest; 0 is all.
	Limit int
	// Data, when it is not nil, is sent as it is, in place of what the phone shows: a past
	// that never happened here.
	Data *waHistorySync.HistorySync
	// To is the companion that gets it; nil is all.
	To *Device
	// Inline sends the history within the message. Otherwise the companion has to fetch it
	// from the media host.
	Inline bool
}

// PushHistory sends companions a part of the past, as a phone does after a new one was
// linked; they get it as one history event.
func (p *Phone) PushHistory(ctx context.Context, h History) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, chat := range h.Chats {
		if _, err := p.acct.s.chat(chat); err != nil {
			return err
		}
	}
	p.mu.Lock()
	data := h.Data
	if data == nil {
		data = &waHistorySync.HistorySync{SyncType: &h.Type}
		for _, chat := range p.historyChats(h.Chats) {
			if h.Limit > 0 {
				chat.messages = chat.messages[max(0, len(chat.messages)-h.Limit):]
			}
			data.Conversations = append(data.Conversations, p.conversation(chat, true))
		}
		p.addMappings(data)
	}
	p.mu.Unlock()
	message, err := p.historyMessage(data, h.Inline, "")
	if err != nil {
		return err
	}
	if h.To == nil {
		return p.sendPeers(message)
	}
	if h.To.acct != p.acct {
		return fmt.Errorf("%s: %w", h.To.JID(), ErrUnknownNumber)
	}
	_, err = p.sendPeer(h.To, message)
	return err
}

// historyChat is a chat with the messages that the phone shows of it, oldest first.
type historyChat struct {
	ref      chatRef
	messages []*Message
}

// historyChats groups what the phone shows by chat, the chat with the newest message
// first; only those that are named, if any are. mu is held.
func (p *Phone) historyChats(only []string) []*historyChat {
	var names []string
	for _, name := range only {
		if ref, err := p.acct.s.chat(name); err == nil {
			names = append(names, ref.name)
		}
	}
	byName := map[string]*historyChat{}
	var out []*historyChat
	for _, m := range slices.Backward(p.list) {
		if len(only) > 0 && !slices.Contains(names, m.Chat) {
			continue
		}
		chat := byName[m.Chat]
		if chat == nil {
			ref, err := p.acct.s.chat(m.Chat)
			if err != nil {
				continue
			}
			chat = &historyChat{ref: ref}
			byName[m.Chat] = chat
			out = append(out, chat)
		}
		chat.messages = append(chat.messages, m)
	}
	for _, chat := range out {
		slices.Reverse(chat.messages)
	}
	return out
}

// conversation is a chat as history carries it, newest message first; mu is held.
func (p *Phone) conversation(chat *historyChat, last bool) *waHistorySync.Conversation {
	hidden := p.migrated()
	out := &waHistorySync.Conversation{
		ID: proto.String(chat.ref.as(hidden).String()), EndOfHistoryTransfer: &last,
		EndOfHistoryTransferType: waHistorySync.Conversation_COMPLETE_BUT_MORE_MESSAGES_REMAIN_ON_PRIMARY.Enum(),
	}
	if last {
		out.EndOfHistoryTransferType = waHistorySync.Conversation_COMPLETE_AND_NO_MORE_MESSAGE_REMAIN_ON_PRIMARY.Enum()
	}
	if peer := chat.ref.peer; peer != nil {
		out.PnJID, out.LidJID = proto.String(peer.pn().String()), proto.String(peer.hidden().String())
		out.DisplayName = proto.String(peer.pushName())
	}
	if timer := p.timers[chat.ref.name]; timer > 0 {
		out.EphemeralExpiration = &timer
	}
	settings := p.ChatSettings(chat.ref.name)
	out.Archived, out.MarkedAsUnread = &settings.Archived, &settings.MarkedUnread
	if settings.Pinned {
		out.Pinned = proto.Uint32(1)
	}
	if settings.Muted {
		end := uint64(1<<63 - 1)
		if !settings.MutedUntil.IsZero() {
			end = uint64(settings.MutedUntil.UnixMilli())
		}
		out.MuteEndTime = &end
	}
	for i, m := range slices.Backward(chat.messages) {
		out.Messages = append(out.Messages, &waHistorySync.HistorySyncMsg{
			Message: p.webMessage(chat.ref, m), MsgOrderID: proto.Uint64(uint64(m.Seq)),
		})
		if i == len(chat.messages)-1 {
			at := uint64(m.Time.Unix())
			out.LastMsgTimestamp, out.ConversationTimestamp = &at, &at
		}
	}
	return out
}

// webMessage is a message as phones keep it and hand it on; mu is held.
func (p *Phone) webMessage(chat chatRef, m *Message) *waWeb.WebMessageInfo {
	fromMe := m.From == p.acct.number
	out := &waWeb.WebMessageInfo{
		Key: &waCommon.MessageKey{
			RemoteJID: proto.String(chat.as(p.migrated()).String()), FromMe: &fromMe, ID: proto.String(m.ID),
		},
		Message: m.Content, MessageTimestamp: proto.Uint64(uint64(m.Time.Unix())),
		Status:        waWeb.WebMessageInfo_DELIVERY_ACK.Enum(),
		MessageSecret: m.Content.GetMessageContextInfo().GetMessageSecret(),
	}
	if chat.peer == nil && !fromMe {
		author := m.author.ToNonAD().String()
		out.Key.Participant, out.Participant = &author, &author
	}
	if !fromMe && m.Name != "" {
		out.PushName = proto.String(m.Name)
	}
	if m.Revoked {
		out.MessageStubType = waWeb.WebMessageInfo_REVOKE.Enum()
	}
	for from, emoji := range m.Reactions {
		out.Reactions = append(out.Reactions, &waWeb.Reaction{
			Key:  &waCommon.MessageKey{RemoteJID: out.Key.RemoteJID, FromMe: proto.Bool(from == p.acct.number)},
			Text: proto.String(emoji),
		})
	}
	return out
}

// addMappings adds who is who among all that the number ever met.
func (p *Phone) addMappings(data *waHistorySync.HistorySync) {
	for _, a := range p.acct.friends() {
		data.PhoneNumberToLidMappings = append(data.PhoneNumberToLidMappings, &waHistorySync.PhoneNumberToLIDMapping{
			PnJID: proto.String(a.pn().String()), LidJID: proto.String(a.hidden().String()),
		})
	}
	if at := p.acct.look().Migrated; at != 0 {
		data.GlobalSettings = &waHistorySync.GlobalSettings{ChatDbLidMigrationTimestamp: &at}
	}
}

// initialHistory is what a new companion gets: of every chat the newest messages, then
// names, then older messages, then the rest; mu is held.
func (p *Phone) initialHistory() ([]*waE2E.ProtocolMessage, error) {
	first := part(waHistorySync.HistorySync_INITIAL_BOOTSTRAP)
	names, recent := part(waHistorySync.HistorySync_PUSH_NAME), part(waHistorySync.HistorySync_RECENT)
	full := []*waHistorySync.HistorySync{part(waHistorySync.HistorySync_FULL)}
	p.addMappings(first)
	for _, chat := range p.historyChats(nil) {
		all := chat.messages
		cut := func(n int) (older []*Message) {
			at := max(0, len(all)-n)
			chat.messages = all[at:]
			return all[:at]
		}
		all = cut(historyFirst)
		first.Conversations = append(first.Conversations, p.conversation(chat, len(all) == 0))
		if len(all) > 0 {
			all = cut(historyRecent)
			recent.Conversations = append(recent.Conversations, p.conversation(chat, len(all) == 0))
		}
		for len(all) > 0 {
			all = cut(historyChunk)
			newest := full[len(full)-1]
			newest.Conversations = append(newest.Conversations, p.conversation(chat, len(all) == 0))
			if len(chat.messages) == historyChunk {
				full = append(full, part(waHistorySync.HistorySync_FULL))
			}
		}
	}
	for _, a := range p.acct.friends() {
		names.Pushnames = append(names.Pushnames, &waHistorySync.Pushname{
			ID: proto.String(a.pn().String()), Pushname: proto.String(a.pushName()),
		})
	}
	var out []*waE2E.ProtocolMessage
	for i, data := range append([]*waHistorySync.HistorySync{first, names, recent}, full...) {
		if i > 0 && len(data.Conversations) == 0 && len(data.Pushnames) == 0 {
			continue
		}
		if data.GetSyncType() == waHistorySync.HistorySync_FULL {
			data.ChunkOrder = proto.Uint32(uint32(i - 2))
		}
		message, err := p.historyMessage(data, i == 0, "")
		if err != nil {
			return nil, err
		}
		out = append(out, message)
	}
	return out, nil
}

func part(kind waHistorySync.HistorySync_HistorySyncType) *waHistorySync.HistorySync {
	return &waHistorySync.HistorySync{SyncType: &kind, ChunkOrder: proto.Uint32(1), Progress: proto.Uint32(100)}
}

// historyMessage tells a companion of a part of the history: within the message, or of the
// file on the media host that holds it (whatsmeow's message.go, DownloadHistorySync).
// request is the id of the message that asked for it.
func (p *Phone) historyMessage(data *waHistorySync.HistorySync, inline bool, request string) (*waE2E.ProtocolMessage, error) {
	raw, err := proto.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("marshal history: %w", err)
	}
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err = z.Write(raw); err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("pack history: %w", err)
	}
	kind := waE2E.HistorySyncType(data.GetSyncType()) // two enumerations of the same numbers
	notification := &waE2E.HistorySyncNotification{
		SyncType: &kind, ChunkOrder: data.ChunkOrder, Progress: data.Progress,
	}
	if inline {
		notification.InitialHistBootstrapInlinePayload = packed.Bytes()
	} else {
		up, err := p.acct.s.uploadMedia(whatsmeow.MediaHistory, &packed)
		if err != nil {
			return nil, fmt.Errorf("upload history: %w", err)
		}
		notification.FileSHA256, notification.FileEncSHA256, notification.FileLength = up.SHA256, up.EncSHA256, &up.Size
		notification.MediaKey, notification.DirectPath = up.Key, &up.DirectPath
	}
	if request != "" {
		notification.PeerDataRequestSessionID = &request
	}
	return &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_HISTORY_SYNC_NOTIFICATION.Enum(), HistorySyncNotification: notification,
	}, nil
}

// peerRequest answers what a companion asks its phone for (whatsmeow's send.go,
// BuildHistorySyncRequest and BuildUnavailableMessageRequest).
func (in *incoming) peerRequest(m *waE2E.ProtocolMessage) {
	if in.sender.acct != in.p.acct {
		return
	}
	request := m.GetPeerDataOperationRequestMessage()
	switch request.GetPeerDataOperationRequestType() {
	case waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND:
		in.answerPeer(in.resendPlaceholders(request.GetPlaceholderMessageResendRequest()))
	case waE2E.PeerDataOperationRequestType_HISTORY_SYNC_ON_DEMAND:
		message, err := in.moreHistory(request.GetHistorySyncOnDemandRequest())
		if err != nil {
			in.p.acct.s.log.Error("answer request for history", "account", in.p.acct.number, "err", err)
			return
		}
		in.answerPeer(message)
	}
}

// resendPlaceholders answers with messages that a companion could not read; with nothing
// for one that the phone does not show either.
func (in *incoming) resendPlaceholders(asked []*waE2E.PeerDataOperationRequestMessage_PlaceholderMessageResendRequest) *waE2E.ProtocolMessage {
	p := in.p
	kind := waE2E.PeerDataOperationRequestType_PLACEHOLDER_MESSAGE_RESEND
	answer := &waE2E.PeerDataOperationRequestResponseMessage{PeerDataOperationRequestType: &kind, StanzaID: &in.id}
	for _, a := range asked {
		result := &waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult{}
		ref, err := p.acct.s.chat(a.GetMessageKey().GetRemoteJID())
		if err == nil {
			if m := p.find(ref.name, a.GetMessageKey().GetID()); m != nil {
				web := p.webMessage(ref, m)
				web.Key.RemoteJID = a.GetMessageKey().RemoteJID // the chat as the companion names it
				raw, err := proto.Marshal(web)
				if err == nil {
					result.PlaceholderMessageResendResponse = &waE2E.PeerDataOperationRequestResponseMessage_PeerDataOperationResult_PlaceholderMessageResendResponse{
						WebMessageInfoBytes: raw,
					}
				}
			}
		}
		answer.PeerDataOperationResult = append(answer.PeerDataOperationResult, result)
	}
	return &waE2E.ProtocolMessage{
		Type:                                    waE2E.ProtocolMessage_PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE.Enum(),
		PeerDataOperationRequestResponseMessage: answer,
	}
}

// moreHistory answers with the messages of a chat that came before one.
func (in *incoming) moreHistory(asked *waE2E.PeerDataOperationRequestMessage_HistorySyncOnDemandRequest) (*waE2E.ProtocolMessage, error) {
	p := in.p
	data := part(waHistorySync.HistorySync_ON_DEMAND)
	for _, chat := range p.historyChats([]string{asked.GetChatJID()}) {
		at := slices.IndexFunc(chat.messages, func(m *Message) bool { return m.ID == asked.GetOldestMsgID() })
		if at < 0 { // a message that the phone does not show: what is older than it by the clock
			at = slices.IndexFunc(chat.messages, func(m *Message) bool { return m.Time.UnixMilli() >= asked.GetOldestMsgTimestampMS() })
		}
		if at >= 0 {
			chat.messages = chat.messages[:at]
		}
		from := max(0, len(chat.messages)-max(0, int(asked.GetOnDemandMsgCount())))
		chat.messages = chat.messages[from:]
		data.Conversations = append(data.Conversations, p.conversation(chat, from == 0))
	}
	return p.historyMessage(data, true, in.id)
}
