package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// me stands for the account itself as a sender: it has a phone number and a LID
// too, but whose message it is needs no lookup.
const me = "me"

// aliasCacheSize bounds the cache; a full one is emptied.
const aliasCacheSize = 20_000

// names resolves the two names of chats and people, remembering the answers.
type names struct {
	store store.Chats
	mu    sync.Mutex
	known map[string]store.Alias
}

func newNames(s store.Chats) *names {
	return &names{store: s, known: make(map[string]store.Alias)}
}

func (n *names) resolve(ctx context.Context, account string, forms ...string) (store.Alias, error) {
	key := account + "\x00" + strings.Join(forms, "\x00")
	n.mu.Lock()
	a, ok := n.known[key]
	n.mu.Unlock()
	if ok {
		return a, nil
	}
	a, err := n.store.ResolveAlias(ctx, account, forms...)
	if err != nil {
		return store.Alias{}, fmt.Errorf("resolve alias: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// Learning that two names belong together may have merged what was cached apart.
	if len(a.Others) > 0 || len(n.known) >= aliasCacheSize {
		for k, old := range n.known {
			if len(n.known) >= aliasCacheSize || overlaps(old, a) {
				delete(n.known, k)
			}
		}
	}
	n.known[key] = a
	return a, nil
}

// forget drops what is cached of an account, whose records may be gone.
func (n *names) forget(account string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := range n.known {
		if strings.HasPrefix(k, account+"\x00") {
			delete(n.known, k)
		}
	}
}

func overlaps(a, b store.Alias) bool {
	has := func(x store.Alias, s string) bool {
		if x.Key == s {
			return true
		}
		for _, o := range x.Others {
			if o == s {
				return true
			}
		}
		return false
	}
	if has(b, a.Key) {
		return true
	}
	for _, o := range a.Others {
		if has(b, o) {
			return true
		}
	}
	return false
}

// Identifier names events as the pipeline does, for those who store what happened
// before there was one. Safe for concurrent use.
type Identifier struct{ names *names }

// NewIdentifier makes an identifier.
func NewIdentifier(s store.Chats) *Identifier { return &Identifier{names: newNames(s)} }

// Identify sets the event's chat key and id, and returns the ids under which the same
// event may be stored, too. It remembers, in the store, that the names belong together.
func (i *Identifier) Identify(ctx context.Context, ev *sdk.Event) (others []string, err error) {
	return i.names.identify(ctx, ev)
}

// identify sets the event's chat key and id, and returns the ids that the same
// happening would have under the other names of its chat and sender.
func (n *names) identify(ctx context.Context, ev *sdk.Event) (others []string, err error) {
	var chat store.Alias
	if ev.Chat != "" {
		forms := []string{ev.Chat}
		if ev.ChatAlt != "" && ev.ChatAlt != ev.Chat {
			forms = append(forms, ev.ChatAlt)
		}
		if chat, err = n.resolve(ctx, ev.Account, forms...); err != nil {
			return nil, err
		}
		ev.Chat = chat.Key
	}
	senders, err := n.senders(ctx, ev)
	if err != nil {
		return nil, err
	}
	id, err := waID(ev)
	if err != nil {
		return nil, err
	}
	cl := class(ev)
	ev.ID = EventID(ev.Account, chat.Key, senders[0], id, cl)
	for _, c := range append([]string{chat.Key}, chat.Others...) {
		for _, s := range senders {
			if other := EventID(ev.Account, c, s, id, cl); other != ev.ID {
				others = append(others, other)
			}
		}
	}
	return others, nil
}

// senders returns the sender's key and then its other names; one empty string where there is no sender.
func (n *names) senders(ctx context.Context, ev *sdk.Event) ([]string, error) {
	var forms []string
	switch {
	case ev.Message != nil:
		m := ev.Message
		if m.FromMe {
			return []string{me}, nil
		}
		for _, f := range []string{m.SenderPN, m.SenderLID} {
			if f != "" {
				forms = append(forms, f)
			}
		}
		if len(forms) == 0 && m.Participant != "" {
			forms = append(forms, m.Participant)
		}
		if len(forms) == 0 && m.From != "" {
			forms = append(forms, m.From)
		}
	case ev.Receipt != nil:
		forms = senderForms(ev.Receipt.From, ev.Receipt.FromMe)
	case ev.Reaction != nil:
		forms = senderForms(ev.Reaction.From, ev.Reaction.FromMe)
	case ev.Edit != nil:
		forms = senderForms(ev.Edit.From, ev.Edit.FromMe)
	case ev.Revoke != nil:
		forms = senderForms(ev.Revoke.From, ev.Revoke.FromMe)
	}
	if len(forms) == 0 {
		return []string{""}, nil
	}
	if forms[0] == me {
		return forms, nil
	}
	a, err := n.resolve(ctx, ev.Account, forms...)
	if err != nil {
		return nil, err
	}
	return append([]string{a.Key}, a.Others...), nil
}

func senderForms(from string, fromMe bool) []string {
	if fromMe {
		return []string{me}
	}
	if from == "" {
		return nil
	}
	return []string{from}
}

// waID is WhatsApp's id of the happening, or a hash of content and time for what has none.
func waID(ev *sdk.Event) (string, error) {
	if ev.WAID != "" {
		return ev.WAID, nil
	}
	if ev.Message != nil && ev.Message.ID != "" {
		return ev.Message.ID, nil
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	return hashID("content", string(body)), nil
}
