package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

type messages struct {
	Messages []simulator.Message `json:"messages"`
}

// received answers at once when there is something, and otherwise waits for it as long as
// the request says: a script needs no loop that sleeps.
func (a *api) received(r *http.Request) (messages, error) {
	p, err := a.phone(r)
	if err != nil {
		return messages{}, err
	}
	after := 0
	if v := r.URL.Query().Get("after"); v != "" {
		if after, err = strconv.Atoi(v); err != nil || after < 0 {
			return messages{}, badRequest("bad_after", "after: want a number of a message")
		}
	}
	err = waiting(r, func(ctx context.Context) error {
		_, err := p.WaitReceived(ctx, after+1)
		return err
	})
	return messages{p.Received(after)}, err
}

// maxWait bounds the waits that a request may ask for.
const maxWait = 10 * time.Minute

// waiting runs wait for as long as the request's query says; that the time is over is no error.
func waiting(r *http.Request, wait func(context.Context) error) error {
	v := r.URL.Query().Get("wait")
	if v == "" {
		return nil
	}
	length, err := time.ParseDuration(v)
	if err != nil || length < 0 || length > maxWait {
		return badRequest("bad_wait", "wait: want a duration such as 10s, up to "+maxWait.String())
	}
	ctx, cancel := context.WithTimeout(r.Context(), length)
	defer cancel()
	if err = wait(ctx); errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
		return nil
	}
	return err
}

type chat struct {
	Chat     string            `json:"chat" doc:"a number, or a chat's JID"`
	Name     string            `json:"name,omitempty" doc:"what the number calls itself, or the group's subject"`
	Messages int               `json:"messages" doc:"how many are shown"`
	Last     simulator.Message `json:"last"`
}

type chatList struct {
	Chats []chat `json:"chats" doc:"the newest first"`
}

func (a *api) chats(r *http.Request) (chatList, error) {
	p, err := a.phone(r)
	if err != nil {
		return chatList{}, err
	}
	out := chatList{[]chat{}}
	for _, name := range p.Chats() {
		if list := p.Messages(name); len(list) > 0 {
			out.Chats = append(out.Chats, chat{name, a.nameOf(name), len(list), list[len(list)-1]})
		}
	}
	return out, nil
}

// nameOf is what a chat is called.
func (a *api) nameOf(chat string) string {
	if p := a.s.Phone(chat); p != nil {
		return p.Name()
	}
	return ""
}

// messages are those of a chat, received and sent.
func (a *api) messages(r *http.Request) (messages, error) {
	p, err := a.phone(r)
	if err != nil {
		return messages{}, err
	}
	return messages{p.Messages(r.URL.Query().Get("chat"))}, nil
}

type delivery struct {
	Devices []string  `json:"devices" doc:"JIDs of those that confirmed it"`
	Read    time.Time `json:"read,omitzero" doc:"when it was read"`
}

// delivery is what became of a message that the phone sent.
func (a *api) delivery(r *http.Request) (delivery, error) {
	p, err := a.phone(r)
	if err != nil {
		return delivery{}, err
	}
	id := r.URL.Query().Get("id")
	if !p.Sent(id) {
		return delivery{}, fmt.Errorf("%q: %w", id, simulator.ErrUnknownMessage)
	}
	err = waiting(r, func(ctx context.Context) error {
		return p.WaitDelivery(ctx, id, func(devices int, read bool) bool { return devices > 0 || read })
	})
	devices, read := p.Delivery(id)
	return delivery{append([]string{}, devices...), read}, err
}
