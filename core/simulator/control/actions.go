package control

import (
	"net/http"

	"github.com/wildcathub/wildcat/core/simulator"
)

// target names a message that the phone shows.
type target struct {
	Chat string `json:"chat" doc:"a number, or a chat's JID"`
	ID   string `json:"id"`
}

type reaction struct {
	target
	Emoji string `json:"emoji" doc:"empty takes the last one back"`
}

func (a *api) react(r *http.Request, in reaction) (messageID, error) {
	return a.onMessage(r, func(p *simulator.Phone) (string, error) { return p.React(r.Context(), in.Chat, in.ID, in.Emoji) })
}

type edit struct {
	target
	Text string `json:"text"`
}

func (a *api) edit(r *http.Request, in edit) (messageID, error) {
	return a.onMessage(r, func(p *simulator.Phone) (string, error) { return p.Edit(r.Context(), in.Chat, in.ID, in.Text) })
}

func (a *api) revoke(r *http.Request, in target) (messageID, error) {
	return a.onMessage(r, func(p *simulator.Phone) (string, error) { return p.Revoke(r.Context(), in.Chat, in.ID) })
}

type vote struct {
	target
	Options []string `json:"options" doc:"in place of what was chosen before"`
}

func (a *api) vote(r *http.Request, in vote) (messageID, error) {
	return a.onMessage(r, func(p *simulator.Phone) (string, error) {
		return p.Vote(r.Context(), in.Chat, in.ID, in.Options...)
	})
}

func (a *api) onMessage(r *http.Request, do func(*simulator.Phone) (string, error)) (messageID, error) {
	p, err := a.phone(r)
	if err != nil {
		return messageID{}, err
	}
	id, err := do(p)
	return messageID{id}, err
}

type readMessages struct {
	Chat string   `json:"chat"`
	IDs  []string `json:"ids,omitempty" doc:"without any, all that the chat shows"`
}

func (a *api) read(r *http.Request, in readMessages) (none, error) {
	p, err := a.phone(r)
	if err != nil {
		return none{}, err
	}
	if len(in.IDs) == 0 {
		for _, m := range p.Messages(in.Chat) {
			in.IDs = append(in.IDs, m.ID)
		}
	}
	return none{}, p.Read(r.Context(), in.Chat, in.IDs...)
}

type timer struct {
	Chat    string `json:"chat"`
	Seconds uint32 `json:"seconds" doc:"0 ends it"`
}

func (a *api) disappearing(r *http.Request, in timer) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.SetDisappearing(r.Context(), in.Chat, in.Seconds)
	}
	return none{}, err
}

type replies struct {
	Replies []simulator.Reply `json:"replies" doc:"the first pattern that matches counts; kept over a restart"`
}

func (a *api) setReplies(r *http.Request, in replies) (replies, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.SetReplies(in.Replies)
	}
	if err != nil {
		return replies{}, err
	}
	return a.replies(r)
}

func (a *api) replies(r *http.Request) (replies, error) {
	p, err := a.phone(r)
	if err != nil {
		return replies{}, err
	}
	return replies{append([]simulator.Reply{}, p.Replies()...)}, nil
}
