package lua

import (
	"cmp"

	"github.com/wildcathub/wildcat/sdk"
)

// maxFailing bounds the chats that are told apart. Of more, each failure counts: so many
// are not one stranger's doing.
const maxFailing = 256

// origin is where a message comes from, as hashes: its chat, and the person who wrote it.
type origin struct{ chat, person uint64 }

func originOf(ev *sdk.Event) origin {
	o := origin{chat: hash(ev.Account, ev.Chat)}
	m := ev.Message
	if m.FromMe {
		o.person = o.chat // the account itself writes into all chats
		return o
	}
	// Without the account: one person may write to all of them.
	o.person = hash("", cmp.Or(m.SenderPN, m.Participant, m.SenderLID, m.From))
	return o
}

// failing are chats that a rule failed in. A chat counts once, and so does a person, who
// may write into many: one of both that is known makes a failure no other.
type failing map[uint64]struct{}

// add says whether the failure is of another chat and another person than those before.
func (f *failing) add(o origin) bool {
	_, chat := (*f)[o.chat]
	_, person := (*f)[^o.person] // its complement: a chat may be its only person
	if chat || person {
		return false
	}
	if *f == nil {
		*f = failing{}
	}
	if f.chats() < maxFailing {
		(*f)[o.chat], (*f)[^o.person] = struct{}{}, struct{}{}
	}
	return true
}

// chats is how many there are.
func (f failing) chats() int { return len(f) / 2 }

// hash is FNV-1a of both.
func hash(account, name string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [2]string{account, name} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	return h
}
