package control

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wildcathub/wildcat/core/simulator"
)

// profile is everything that a phone shows of itself, and of others to its owner.
type profile struct {
	phoneInfo
	About     string                   `json:"about"`
	PictureID string                   `json:"picture_id" doc:"empty without a picture"`
	Business  *simulator.Business      `json:"business,omitempty"`
	Privacy   map[string]string        `json:"privacy" doc:"category to value"`
	Blocked   []string                 `json:"blocked"`
	Contacts  []simulator.SavedContact `json:"contacts" doc:"the address book"`
}

func (a *api) profile(r *http.Request) (profile, error) {
	p, err := a.phone(r)
	if err != nil {
		return profile{}, err
	}
	picture, _ := p.Picture()
	return profile{
		infoOf(p), p.About(), picture, p.Business(), p.Privacy(),
		append([]string{}, p.Blocked()...), append([]simulator.SavedContact{}, p.Contacts()...),
	}, nil
}

type profileChange struct {
	Name     *string             `json:"name,omitempty"`
	About    *string             `json:"about,omitempty"`
	Business *simulator.Business `json:"business,omitempty" doc:"makes the account a business"`
	Privacy  map[string]string   `json:"privacy,omitempty" doc:"groupadd, last, status, profile, readreceipts, online, calladd"`
	Timer    *uint32             `json:"default_timer_s,omitempty" doc:"after how many seconds messages of new chats disappear"`
}

func (a *api) changeProfile(r *http.Request, in profileChange) (profile, error) {
	p, err := a.phone(r)
	if err != nil {
		return profile{}, err
	}
	if in.Name != nil && utf8.RuneCountInString(*in.Name) > simulator.NameLimit {
		return profile{}, badRequest("bad_name", "name: want at most "+strconv.Itoa(simulator.NameLimit)+" characters")
	}
	if in.About != nil && utf8.RuneCountInString(*in.About) > simulator.AboutLimit {
		return profile{}, badRequest("bad_about", "about: want at most "+strconv.Itoa(simulator.AboutLimit)+" characters")
	}
	ctx := r.Context()
	if in.Name != nil {
		err = p.SetPushName(ctx, *in.Name)
	}
	if err == nil && in.About != nil {
		err = p.SetAbout(ctx, *in.About)
	}
	if err == nil && in.Business != nil {
		err = p.SetBusiness(ctx, in.Business)
	}
	for category, value := range in.Privacy {
		if err == nil {
			err = p.SetPrivacy(ctx, category, value)
		}
	}
	if err == nil && in.Timer != nil {
		err = p.SetDefaultTimer(ctx, time.Duration(*in.Timer)*time.Second)
	}
	if err != nil {
		return profile{}, err
	}
	return a.profile(r)
}

type pictureID struct {
	ID string `json:"id"`
}

func (a *api) setPicture(r *http.Request) (pictureID, error) {
	p, err := a.phone(r)
	if err != nil {
		return pictureID{}, err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return pictureID{}, bodyError("bad_body", err)
	}
	id, err := p.SetPicture(r.Context(), data)
	return pictureID{id}, err
}

func (a *api) picture(w http.ResponseWriter, r *http.Request) error {
	p, err := a.phone(r)
	if err != nil {
		return err
	}
	_, data := p.Picture()
	if data == nil {
		return &apiError{http.StatusNotFound, "no_picture", "the phone has no picture"}
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(data) // the reader is gone if this fails
	return nil
}

func (a *api) removePicture(r *http.Request) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.RemovePicture(r.Context())
	}
	return none{}, err
}

type block struct {
	Number string `json:"number"`
	On     bool   `json:"on" doc:"false unblocks"`
}

func (a *api) block(r *http.Request, in block) (none, error) {
	p, err := a.phone(r)
	switch {
	case err != nil:
	case strings.TrimPrefix(in.Number, "+") == p.Number():
		err = badRequest("bad_number", "a phone cannot block itself")
	case in.On:
		err = p.Block(r.Context(), in.Number)
	default:
		err = p.Unblock(r.Context(), in.Number)
	}
	return none{}, err
}

func (a *api) setContact(r *http.Request, in simulator.SavedContact) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.SetContact(r.Context(), in.Number, in.FullName, in.FirstName)
	}
	return none{}, err
}

type presence struct {
	Available bool `json:"available"`
}

func (a *api) presence(r *http.Request, in presence) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.Presence(r.Context(), in.Available)
	}
	return none{}, err
}

type typing struct {
	To    string           `json:"to" doc:"a number, or a chat's JID"`
	State simulator.Typing `json:"state" doc:"composing, recording or paused"`
}

func (a *api) typing(r *http.Request, in typing) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.Typing(r.Context(), in.To, in.State)
	}
	return none{}, err
}

type seenPresence struct {
	Available bool             `json:"available"`
	LastSeen  time.Time        `json:"last_seen,omitzero"`
	Typing    simulator.Typing `json:"typing" doc:"composing, recording or paused; empty when it was not said"`
}

// presenceOf is what the phone was told of another number.
func (a *api) presenceOf(r *http.Request) (seenPresence, error) {
	p, err := a.phone(r)
	if err != nil {
		return seenPresence{}, err
	}
	other := r.URL.Query().Get("of")
	if _, err = a.byNumber(other); err != nil {
		return seenPresence{}, err
	}
	available, last := p.PresenceOf(other)
	return seenPresence{available, last, p.TypingOf(other)}, nil
}
