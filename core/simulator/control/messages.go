package control

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/wildcathub/wildcat/core/simulator"
)

type textMessage struct {
	To     string `json:"to"`
	Text   string `json:"text"`
	Quoted string `json:"quoted,omitempty" doc:"id of the message that this one answers"`
	ID     string `json:"id,omitempty" doc:"made up when empty"`
}

type messageID struct {
	ID string `json:"id"`
}

func (a *api) send(r *http.Request, in textMessage) (messageID, error) {
	p, err := a.phone(r)
	if err != nil {
		return messageID{}, err
	}
	id, err := p.SendText(r.Context(), in.To, in.Text, simulator.SendOptions{Quote: in.Quoted, ID: in.ID})
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

type received struct {
	Messages []simulator.Message `json:"messages"`
}

func (a *api) received(r *http.Request) (received, error) {
	p, err := a.phone(r)
	if err != nil {
		return received{}, err
	}
	after := 0
	if v := r.URL.Query().Get("after"); v != "" {
		if after, err = strconv.Atoi(v); err != nil || after < 0 {
			return received{}, badRequest("bad_after", "after: want a number of a message")
		}
	}
	return received{p.Received(after)}, nil
}
