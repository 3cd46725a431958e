package control

import (
	"context"
	"io"
	"net/http"

	"github.com/wildcathub/wildcat/core/simulator"
)

type callList struct {
	Calls []simulator.Call `json:"calls" doc:"since the start, the oldest first"`
}

func (a *api) calls(r *http.Request) (callList, error) {
	p, err := a.phone(r)
	if err != nil {
		return callList{}, err
	}
	err = waiting(r, func(ctx context.Context) error {
		_, err := p.WaitCall(ctx, func(c simulator.Call) bool { return c.State == simulator.CallRinging })
		return err
	})
	return callList{append([]simulator.Call{}, p.Calls()...)}, err
}

type newCall struct {
	To    string `json:"to" doc:"a number, or a group's JID"`
	Video bool   `json:"video,omitempty"`
}

type callID struct {
	ID string `json:"id"`
}

func (a *api) call(r *http.Request, in newCall) (callID, error) {
	p, err := a.phone(r)
	if err != nil {
		return callID{}, err
	}
	id, err := p.Call(r.Context(), in.To, in.Video)
	return callID{id}, err
}

type callTurn struct {
	Action string `json:"action" enum:"answer,reject,end"`
	Reason string `json:"reason,omitempty" doc:"of an end, such as timeout"`
}

// turnCall answers, rejects or ends a call.
func (a *api) turnCall(r *http.Request, in callTurn) (none, error) {
	p, err := a.phone(r)
	if err != nil {
		return none{}, err
	}
	id := r.PathValue("id")
	switch in.Action {
	case "answer":
		err = p.AnswerCall(r.Context(), id)
	case "reject":
		err = p.RejectCall(r.Context(), id)
	case "end":
		err = p.EndCall(r.Context(), id, in.Reason)
	default:
		err = badRequest("bad_action", "action: want answer, reject or end")
	}
	return none{}, err
}

type statusAudience struct {
	Kind    string   `json:"kind" enum:"contacts,blacklist,whitelist"`
	Numbers []string `json:"numbers,omitempty" doc:"who is left out, or the only ones"`
}

// statusPrivacy says who sees what the phone sends to status@broadcast.
func (a *api) statusPrivacy(r *http.Request, in statusAudience) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.SetStatusPrivacy(r.Context(), in.Kind, in.Numbers...)
	}
	return none{}, err
}

func (a *api) setGroupPicture(r *http.Request) (pictureID, error) {
	p, err := a.phone(r)
	if err != nil {
		return pictureID{}, err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return pictureID{}, bodyError("bad_body", err)
	}
	id, err := p.SetGroupPicture(r.Context(), r.PathValue("jid"), data)
	return pictureID{id}, err
}
