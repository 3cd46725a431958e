package page

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

// phonePage is one phone with one of its chats.
type phonePage struct {
	shell
	Number, Name, LID string
	About, Picture    string
	Devices           []deviceRow
	Chats             []chatRow
	Chat              *chatView
	// Others are the numbers that the phone could write to.
	Others []phoneRow
	// Quick are the reactions that are one click away.
	Quick []string
}

type deviceRow struct {
	JID             string
	ID              uint16
	Online          bool
	Pending         int
	PreKeys         int
	Logins          uint64
	LastAck, LastIn time.Time
}

type chatRow struct {
	Chat, Name, Preview string
	Time                time.Time
	Open, Group         bool
}

type chatView struct {
	Chat, Name string
	Group      bool
	Typing     string
	Members    *groupView
	Messages   []bubble
	// Reply and Edit are the message that is being answered or changed, if any.
	Reply, Edit *bubble
}

// bubble is a message as it is shown.
type bubble struct {
	simulator.Message
	Own     bool
	Who     string
	Day     string // above the first message of a day
	Quote   *quote
	Ticks   string // sent, delivered or read, of the phone's own
	Chosen  []option
	Emojis  []emoji
	Source  string // of a medium
	MIME    string
	File    string
	CanEdit bool
}

type quote struct{ Who, Text string }

type option struct {
	Name   string
	Votes  int
	Voters string
	Mine   bool
	Others []string // what of mine remains chosen when this one is clicked
}

type emoji struct {
	Text string
	N    int
	Who  string
}

func (p *page) phone(w http.ResponseWriter, r *http.Request) {
	phone, err := p.number(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	q := r.URL.Query()
	out := phonePage{
		shell:  p.shell(r, phone.Name()+" "+phone.Number(), phone.Number()),
		Number: phone.Number(), Name: phone.Name(), LID: phone.LID(), Quick: []string{"👍", "❤️", "😂", "😮", "😢", "🙏"},
	}
	out.About = phone.About()
	out.Picture, _ = phone.Picture()
	for _, d := range phone.Companions() {
		_, last := d.Acked()
		out.Devices = append(out.Devices, deviceRow{
			JID: d.JID().String(), ID: d.JID().Device, Online: d.Online(), Pending: d.Pending(), PreKeys: d.PreKeys(),
			Logins: d.Logins(), LastAck: last, LastIn: d.LastLogin(),
		})
	}
	for _, row := range out.Phones {
		if row.Number != out.Number {
			out.Others = append(out.Others, row)
		}
	}
	open := q.Get("chat")
	for _, chat := range p.chatsOf(phone) {
		messages := phone.Messages(chat)
		row := chatRow{Chat: chat, Name: p.nameOf(chat), Open: chat == open, Group: strings.Contains(chat, "@")}
		if n := len(messages); n > 0 {
			row.Preview, row.Time = preview(messages[n-1]), messages[n-1].Time
		}
		out.Chats = append(out.Chats, row)
	}
	if open != "" {
		out.Chat = p.chat(phone, open, q.Get("reply"), q.Get("edit"))
	}
	p.render(w, "phone.html", out)
}

// chatsOf are the chats that have messages, the newest first, and groups that have none yet.
func (p *page) chatsOf(phone *simulator.Phone) []string {
	out := phone.Chats()
	for _, jid := range p.groupsOf(phone.Number()) {
		if !slices.Contains(out, jid) {
			out = append(out, jid)
		}
	}
	return out
}

// nameOf is what a chat or a writer is called.
func (p *page) nameOf(chat string) string {
	if phone := p.s.Phone(chat); phone != nil && phone.Name() != "" {
		return phone.Name()
	}
	if g, err := p.s.Group(chat); err == nil {
		return g.Subject
	}
	return chat
}

func (p *page) chat(phone *simulator.Phone, name, reply, edit string) *chatView {
	out := &chatView{Chat: name, Name: p.nameOf(name), Group: strings.Contains(name, "@")}
	switch phone.TypingOf(name) {
	case simulator.Composing:
		out.Typing = "typing…"
	case simulator.Recording:
		out.Typing = "recording…"
	}
	if out.Group {
		out.Members = p.group(phone, name)
	}
	messages := phone.Messages(name)
	byID := map[string]simulator.Message{}
	for _, m := range messages {
		byID[m.ID] = m
	}
	day := ""
	for _, m := range messages {
		b := p.bubble(phone, m, byID)
		if today := m.Time.Local().Format("Monday, 2 January"); today != day {
			day, b.Day = today, today
		}
		out.Messages = append(out.Messages, b)
	}
	for i := range out.Messages {
		b := &out.Messages[i]
		if b.ID == reply && !b.Revoked {
			out.Reply = b
		}
		if b.ID == edit && b.CanEdit {
			out.Edit = b
		}
	}
	return out
}

func (p *page) bubble(phone *simulator.Phone, m simulator.Message, byID map[string]simulator.Message) bubble {
	b := bubble{Message: m, Own: m.From == phone.Number(), Who: p.nameOf(m.From)}
	b.CanEdit = b.Own && m.Kind == simulator.KindText && !m.Revoked
	if m.Quoted != "" {
		b.Quote = &quote{Text: "a message that is not here"}
		if quoted, ok := byID[m.Quoted]; ok {
			b.Quote = &quote{p.nameOf(quoted.From), preview(quoted)}
		}
	}
	if devices, read := phone.Delivery(m.ID); b.Own && !read.IsZero() {
		b.Ticks = "read"
	} else if b.Own && len(devices) > 0 {
		b.Ticks = "delivered"
	} else if b.Own {
		b.Ticks = "sent"
	}
	if m.Media != nil {
		b.MIME, b.File = m.Media.MIME, m.Media.Name
		if !m.Media.Missing {
			b.Source = "/sandbox/phones/" + phone.Number() + "/file?" + url.Values{"chat": {m.Chat}, "id": {m.ID}}.Encode()
		}
	}
	if m.Poll != nil {
		b.Chosen = p.options(phone, m.Poll)
	}
	counts := map[string][]string{}
	for who, text := range m.Reactions {
		counts[text] = append(counts[text], p.nameOf(who))
	}
	for text, who := range counts {
		slices.Sort(who)
		b.Emojis = append(b.Emojis, emoji{text, len(who), strings.Join(who, ", ")})
	}
	slices.SortFunc(b.Emojis, func(x, y emoji) int { return strings.Compare(x.Text, y.Text) })
	return b
}

// options are those of a poll with their votes, and what a click on each would choose.
func (p *page) options(phone *simulator.Phone, poll *simulator.Poll) []option {
	mine := poll.Votes[phone.Number()]
	out := make([]option, 0, len(poll.Options))
	for _, name := range poll.Options {
		o := option{Name: name, Mine: slices.Contains(mine, name)}
		var voters []string
		for who, chosen := range poll.Votes {
			if slices.Contains(chosen, name) {
				voters = append(voters, p.nameOf(who))
			}
		}
		slices.Sort(voters)
		o.Votes, o.Voters = len(voters), strings.Join(voters, ", ")
		if poll.Selectable != 1 {
			for _, other := range mine {
				if other != name {
					o.Others = append(o.Others, other)
				}
			}
		}
		out = append(out, o)
	}
	return out
}
