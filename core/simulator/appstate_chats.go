package simulator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/types"
)

// chatJIDs are the JIDs under which a chat, a number or a JID as text, is filed; the
// first is the one in use.
func (p *Phone) chatJIDs(chat string) ([]types.JID, error) {
	jid, err := types.ParseJID(chat)
	if err != nil {
		return nil, fmt.Errorf("chat %q: %w", chat, err)
	}
	if jid.User == "" { // no @
		number, err := cleanNumber(chat)
		if err != nil {
			return nil, err
		}
		jid = types.NewJID(number, types.DefaultUserServer)
	}
	a := p.acct.s.findAccount(jid)
	if a == nil {
		return []types.JID{jid}, nil
	}
	hidden := p.acct.look().Migrated != 0
	return []types.JID{a.as(hidden), a.as(!hidden)}, nil
}

// editChat changes how a chat is shown.
func (p *Phone) editChat(ctx context.Context, chat string, build func(types.JID) appstate.PatchInfo) error {
	jids, err := p.chatJIDs(chat)
	if err != nil {
		return err
	}
	return p.EditAppState(ctx, build(jids[0]))
}

// Mute makes a chat, a number or a group's JID as text, silent for a time, 0 for good; or
// loud again.
func (p *Phone) Mute(ctx context.Context, chat string, mute bool, d time.Duration) error {
	return p.editChat(ctx, chat, func(jid types.JID) appstate.PatchInfo {
		if !mute || d == 0 {
			return appstate.BuildMuteAbs(jid, mute, nil)
		}
		return appstate.BuildMuteAbs(jid, mute, proto.Int64(p.acct.s.opts.Clock().Add(d).UnixMilli()))
	})
}

// Archive puts a chat away, which also unpins it, or brings it back.
func (p *Phone) Archive(ctx context.Context, chat string, archive bool) error {
	return p.editChat(ctx, chat, func(jid types.JID) appstate.PatchInfo {
		return appstate.BuildArchive(jid, archive, p.acct.s.opts.Clock(), nil)
	})
}

// Pin puts a chat at the top, or takes it off there.
func (p *Phone) Pin(ctx context.Context, chat string, pin bool) error {
	return p.editChat(ctx, chat, func(jid types.JID) appstate.PatchInfo { return appstate.BuildPin(jid, pin) })
}

// MarkRead marks a chat as read, or as unread. It sends no receipts.
func (p *Phone) MarkRead(ctx context.Context, chat string, read bool) error {
	return p.editChat(ctx, chat, func(jid types.JID) appstate.PatchInfo {
		return appstate.BuildMarkChatAsRead(jid, read, p.acct.s.opts.Clock(), nil)
	})
}

// Star stars a message of a chat with one other, by its id and whether this number wrote
// it, or takes the star away.
func (p *Phone) Star(ctx context.Context, chat, id string, fromMe, star bool) error {
	return p.editChat(ctx, chat, func(jid types.JID) appstate.PatchInfo {
		return appstate.BuildStar(jid, jid, id, fromMe, star)
	})
}

// DeleteChat deletes a chat on all devices of the number.
func (p *Phone) DeleteChat(ctx context.Context, chat string) error {
	return p.editChat(ctx, chat, func(jid types.JID) appstate.PatchInfo {
		return appstate.BuildDeleteChat(jid, p.acct.s.opts.Clock(), &waCommon.MessageKey{
			RemoteJID: proto.String(jid.String()), FromMe: proto.Bool(false), ID: proto.String(newMessageID()),
		})
	})
}

// ChatSettings returns how a chat is shown, whichever device said so last.
func (p *Phone) ChatSettings(chat string) ChatSettings {
	var out ChatSettings
	jids, err := p.chatJIDs(chat)
	if err != nil {
		return out
	}
	st := &p.acct.state
	st.mu.Lock()
	defer st.mu.Unlock()
	if mute := st.newest(appstate.IndexMute, jids...).GetMuteAction(); mute.GetMuted() {
		out.Muted = true
		if end := mute.GetMuteEndTimestamp(); end > 0 {
			out.MutedUntil = time.UnixMilli(end).UTC()
		}
	}
	out.Archived = st.newest(appstate.IndexArchive, jids...).GetArchiveChatAction().GetArchived()
	out.Pinned = st.newest(appstate.IndexPin, jids...).GetPinAction().GetPinned()
	if read := st.newest(appstate.IndexMarkChatAsRead, jids...).GetMarkChatAsReadAction(); read != nil {
		out.MarkedUnread = !read.GetRead()
	}
	return out
}

// Starred returns the ids of a chat's starred messages.
func (p *Phone) Starred(chat string) []string {
	jids, err := p.chatJIDs(chat)
	if err != nil {
		return nil
	}
	st := &p.acct.state
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []string
	for key, value := range st.values {
		index := strings.Split(key, "\x00")
		if index[0] != appstate.IndexStar || len(index) < 5 || !value.GetStarAction().GetStarred() {
			continue
		}
		for _, jid := range jids {
			if index[1] == jid.String() {
				out = append(out, index[2])
			}
		}
	}
	return out
}
