package control

import (
	"fmt"
	"net/http"

	"github.com/wildcathub/wildcat/core/simulator"
)

// outgoing is what a phone is told to send: one of text, media, location, contacts and poll.
type outgoing struct {
	To       string              `json:"to" doc:"a number, or a chat's JID"`
	Text     string              `json:"text,omitempty"`
	Media    *simulator.Media    `json:"media,omitempty"`
	Location *simulator.Location `json:"location,omitempty"`
	Contacts []simulator.Contact `json:"contacts,omitempty"`
	Poll     *newPoll            `json:"poll,omitempty"`
	sendOptions
}

type newPoll struct {
	Question   string   `json:"question"`
	Options    []string `json:"options"`
	Selectable uint32   `json:"selectable,omitempty" doc:"how many may be chosen; 0 is any number"`
}

type sendOptions struct {
	Quoted    string   `json:"quoted,omitempty" doc:"id of the message that this one answers"`
	ID        string   `json:"id,omitempty" doc:"made up when empty"`
	Mentions  []string `json:"mentions,omitempty" doc:"numbers that the text names"`
	Forwarded bool     `json:"forwarded,omitempty"`
	ViewOnce  bool     `json:"view_once,omitempty"`
	Expires   uint32   `json:"expires,omitempty" doc:"disappears after so many seconds; 0 is what was set for the chat"`
	ByLID     bool     `json:"by_lid,omitempty" doc:"sent under the hidden identifier in place of the number"`
}

func (o *sendOptions) options() simulator.SendOptions {
	return simulator.SendOptions{
		ID: o.ID, Quote: o.Quoted, Mentions: o.Mentions, Forwarded: o.Forwarded,
		ViewOnce: o.ViewOnce, Expires: o.Expires, ByLID: o.ByLID,
	}
}

type messageID struct {
	ID string `json:"id"`
}

func (a *api) send(r *http.Request, in outgoing) (messageID, error) {
	p, err := a.phone(r)
	if err != nil {
		return messageID{}, err
	}
	ctx, opts := r.Context(), in.options()
	kinds := 0
	for _, given := range []bool{in.Text != "", in.Media != nil, in.Location != nil, len(in.Contacts) > 0, in.Poll != nil} {
		if given {
			kinds++
		}
	}
	var id string
	switch {
	case kinds != 1:
		err = badRequest("bad_message", "want one of text, media, location, contacts and poll")
	case in.ID != "" && p.Sent(in.ID):
		err = &apiError{http.StatusConflict, "id_taken", "the phone has sent a message with this id already"}
	case in.Media != nil:
		id, err = p.SendMedia(ctx, in.To, *in.Media, opts)
	case in.Location != nil:
		id, err = p.SendLocation(ctx, in.To, *in.Location, opts)
	case len(in.Contacts) > 0:
		id, err = p.SendContacts(ctx, in.To, in.Contacts, opts)
	case in.Poll != nil:
		id, err = p.SendPoll(ctx, in.To, in.Poll.Question, in.Poll.Options, in.Poll.Selectable, opts)
	default:
		id, err = p.SendText(ctx, in.To, in.Text, opts)
	}
	return messageID{id}, err
}

type batch struct {
	Messages []batchMessage `json:"messages"`
}

type batchMessage struct {
	From string `json:"from"`
	To   string `json:"to"`
	Text string `json:"text"`
}

type messageIDs struct {
	IDs []string `json:"ids"`
}

// sendBatch sends many messages in order; for load.
func (a *api) sendBatch(r *http.Request, in batch) (messageIDs, error) {
	out := messageIDs{make([]string, 0, len(in.Messages))}
	for i, m := range in.Messages {
		p, err := a.byNumber(m.From)
		if err == nil {
			var id string
			id, err = p.SendText(r.Context(), m.To, m.Text)
			out.IDs = append(out.IDs, id)
		}
		if err != nil {
			return messageIDs{}, fmt.Errorf("message %d of %d, those before it are sent: %w", i+1, len(in.Messages), err)
		}
	}
	return out, nil
}
