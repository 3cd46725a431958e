package control

import (
	"net/http"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

type chatChange struct {
	Chat     string `json:"chat"`
	Muted    *bool  `json:"muted,omitempty"`
	MuteFor  uint32 `json:"mute_for_s,omitempty" doc:"0 is for good"`
	Archived *bool  `json:"archived,omitempty"`
	Pinned   *bool  `json:"pinned,omitempty"`
	Read     *bool  `json:"read,omitempty" doc:"marks the chat, and tells nobody but the phone's own companions"`
	Delete   bool   `json:"delete,omitempty"`
}

// changeChat changes how the phone and its companions show a chat.
func (a *api) changeChat(r *http.Request, in chatChange) (simulator.ChatSettings, error) {
	p, err := a.phone(r)
	if err != nil {
		return simulator.ChatSettings{}, err
	}
	ctx := r.Context()
	if in.Muted != nil {
		err = p.Mute(ctx, in.Chat, *in.Muted, time.Duration(in.MuteFor)*time.Second)
	}
	if err == nil && in.Archived != nil {
		err = p.Archive(ctx, in.Chat, *in.Archived)
	}
	if err == nil && in.Pinned != nil {
		err = p.Pin(ctx, in.Chat, *in.Pinned)
	}
	if err == nil && in.Read != nil {
		err = p.MarkRead(ctx, in.Chat, *in.Read)
	}
	if err == nil && in.Delete {
		err = p.DeleteChat(ctx, in.Chat)
	}
	return p.ChatSettings(in.Chat), err
}

func (a *api) chatSettings(r *http.Request) (simulator.ChatSettings, error) {
	p, err := a.phone(r)
	if err != nil {
		return simulator.ChatSettings{}, err
	}
	return p.ChatSettings(r.URL.Query().Get("chat")), nil
}

type star struct {
	target
	On bool `json:"on"`
}

func (a *api) star(r *http.Request, in star) (none, error) {
	p, err := a.phone(r)
	if err != nil {
		return none{}, err
	}
	m, ok := p.Message(in.Chat, in.ID)
	if !ok {
		return none{}, simulator.ErrUnknownMessage
	}
	return none{}, p.Star(r.Context(), in.Chat, in.ID, m.From == p.Number(), in.On)
}

type history struct {
	Chats  []string `json:"chats,omitempty" doc:"none means all"`
	Limit  int      `json:"limit,omitempty" doc:"how many messages of each chat, the newest; 0 is all"`
	Inline bool     `json:"inline,omitempty" doc:"within the message, in place of a file to fetch"`
}

// pushHistory sends companions what the phone shows of the past.
func (a *api) pushHistory(r *http.Request, in history) (none, error) {
	p, err := a.phone(r)
	if err == nil && in.Limit < 0 {
		err = badRequest("bad_limit", "limit: want 0 or more")
	}
	if err == nil {
		err = p.PushHistory(r.Context(), simulator.History{Chats: in.Chats, Limit: in.Limit, Inline: in.Inline})
	}
	return none{}, err
}

// migrate moves the phone's chats to hidden identifiers.
func (a *api) migrate(r *http.Request) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.MigrateToLID(r.Context())
	}
	return none{}, err
}

type keyRotation struct {
	Share bool `json:"share,omitempty" doc:"companions are sent the new key; without, they have to ask for it"`
}

// rotateKey makes a new key of the app state.
func (a *api) rotateKey(r *http.Request, in keyRotation) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.RotateAppStateKey(r.Context(), in.Share)
	}
	return none{}, err
}

// forgetSessions makes what comes next undecryptable once, as a restore from an old backup does.
func (a *api) forgetSessions(r *http.Request) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.ForgetSessions()
	}
	return none{}, err
}
