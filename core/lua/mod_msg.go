package lua

import (
	"slices"
	"strings"
	"unicode/utf8"

	glua "github.com/yuin/gopher-lua"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

// messageRows are the methods of msg.
func messageRows() []row {
	return []row{
		{"drop", msgDrop},
		{"reply", msgReply},
		{"route", msgRoute},
		{"send", msgSend},
		{"tag", msgTag},
	}
}

const (
	// maxText is the longest text, in characters: the limit of REST, too.
	maxText = 65_536
	// maxTexts bounds, in bytes, all texts of one event together: they are stored with
	// the verdict, which has to fit into a record of the database.
	maxTexts = 2 << 20
)

// maxMarks bounds the routes and the tags of one event.
const maxMarks = 32

// newMessage is the handle that a handler gets: it reads the run's event, and is
// worth nothing once the handler has returned.
func newMessage(l *glua.LState, r *run) *glua.LUserData {
	return &glua.LUserData{Value: r, Env: r.lib.env, Metatable: r.lib.message}
}

// live returns the run behind msg, the first argument.
func live(l *glua.LState) *run {
	ud, ok := l.Get(1).(*glua.LUserData)
	if !ok {
		fail(l, "call it as msg:name(…), with a colon")
	}
	r, ok := ud.Value.(*run)
	if !ok || r.ev == nil {
		fail(l, "msg is no longer valid: its handler has returned")
	}
	return r
}

func messageIndex(l *glua.LState) int {
	r := live(l)
	key, _ := l.Get(2).(glua.LString)
	v := field(r.ev, string(key))
	if v == nil {
		if fn, ok := r.lib.methods[string(key)]; ok {
			v = fn
		}
	}
	if key == "mentions" {
		r.table(l)
		list := emptyTable()
		for _, jid := range r.ev.Message.Mentions {
			list.Append(glua.LString(jid))
		}
		v = list
	}
	if v == nil {
		fail(l, "msg has no field or method %s", describe(l.Get(2)))
	}
	l.Push(v)
	return 1
}

// field is a field of msg; nil: there is none of that name.
func field(ev *sdk.Event, key string) glua.LValue {
	m := ev.Message
	switch key {
	case "text":
		return glua.LString(m.Text)
	case "chat":
		return glua.LString(ev.Chat)
	case "from":
		return glua.LString(m.From)
	case "sender":
		return glua.LString(sender(m))
	case "sender_pn":
		return glua.LString(m.SenderPN)
	case "sender_lid":
		return glua.LString(m.SenderLID)
	case "participant":
		return glua.LString(m.Participant)
	case "name":
		return glua.LString(m.Name)
	case "id":
		return glua.LString(m.ID)
	case "from_me":
		return glua.LBool(m.FromMe)
	case "kind":
		return glua.LString(m.Kind)
	case "is_group":
		return glua.LBool(isGroup(ev))
	case "has_media":
		return glua.LBool(m.Media != nil)
	case "account":
		return glua.LString(ev.Account)
	case "time":
		return glua.LNumber(m.Time.Unix())
	case "seq":
		return glua.LNumber(ev.Seq)
	case "event_id":
		return glua.LString(ev.ID)
	case "quoted_id":
		if m.Quote == nil {
			return glua.LNil
		}
		return glua.LString(m.Quote.ID)
	}
	return nil
}

// sender is who wrote the message, under the name that WhatsApp used.
func sender(m *sdk.Message) string {
	for _, jid := range []string{m.Participant, m.SenderPN, m.SenderLID} {
		if jid != "" {
			return jid
		}
	}
	return m.From
}

func messageNewIndex(l *glua.LState) int {
	fail(l, "cannot set msg.%s: a message is read-only", text(l, l.Get(2)))
	return 0
}

func messageString(l *glua.LState) int {
	l.Push(glua.LString("message"))
	return 1
}

// act adds an action to the verdict.
func act(l *glua.LState, r *run, a pipeline.Action) int {
	r.actions++
	if r.actions > r.lim.Actions {
		fail(l, "more than %d actions in one event", r.lim.Actions)
	}
	if r.texts += len(a.Text); r.texts > maxTexts {
		fail(l, "the texts to send in one event have more than %d bytes together", maxTexts)
	}
	r.charge(l, 5)
	r.verdict.Actions = append(r.verdict.Actions, a)
	return 0
}

// words reads a text to send.
func words(l *glua.LState, arg int) string {
	s := l.CheckString(arg)
	n := utf8.RuneCountInString(s)
	switch {
	case strings.TrimSpace(s) == "":
		fail(l, "the text is empty")
	case n > maxText:
		fail(l, "message length invalid (%d): must be between 1 and %d characters", n, maxText)
	case !utf8.ValidString(s):
		fail(l, "the text is not valid UTF-8 (string.sub may cut a letter in two)")
	}
	return s
}

// options reads {quote = true, mentions = {…}} into an action.
func options(l *glua.LState, arg int, a *pipeline.Action) {
	if l.Get(arg) == glua.LNil {
		return
	}
	l.CheckTable(arg).ForEach(func(k, v glua.LValue) {
		switch k.String() {
		case "quote":
			b, ok := v.(glua.LBool)
			if !ok {
				fail(l, "option quote must be true or false, not %s", kindOf(v))
			}
			a.Quote = bool(b)
		case "mentions":
			list, ok := stringList(v)
			if !ok {
				fail(l, "option mentions must be a list of JIDs")
			}
			a.Mentions = list
		default:
			fail(l, "unknown option %s%s", describe(k), suggest(k.String(), []string{"quote", "mentions"}))
		}
	})
}

func msgReply(l *glua.LState) int {
	r := live(l)
	if isPublic(r.ev) {
		fail(l, "msg:reply would publish its text in %s: use msg:send(msg.sender, text)", r.ev.Chat)
	}
	a := pipeline.Action{Kind: pipeline.ActionReply, Text: words(l, 2)}
	options(l, 3, &a)
	return act(l, r, a)
}

func msgSend(l *glua.LState) int {
	r := live(l)
	to := strings.TrimSpace(l.CheckString(2))
	if to == "" || len(to) > 200 {
		fail(l, "msg:send: the first argument must be a phone number or JID, not %s", kindOf(l.Get(2)))
	}
	a := pipeline.Action{Kind: pipeline.ActionSend, To: to, Text: words(l, 3)}
	options(l, 4, &a)
	if a.Quote {
		fail(l, "msg:send cannot quote: the message is in another chat")
	}
	return act(l, r, a)
}

func msgDrop(l *glua.LState) int {
	live(l).verdict.Drop = true
	return 0
}

func msgRoute(l *glua.LState) int {
	r := live(l)
	if l.GetTop() < 2 {
		fail(l, "msg:route needs the name of a connector")
	}
	for i := 2; i <= l.GetTop(); i++ {
		r.verdict.Routes = mark(l, r.verdict.Routes, i, "connector")
	}
	return 0
}

func msgTag(l *glua.LState) int {
	r := live(l)
	r.verdict.Tags = mark(l, r.verdict.Tags, 2, "tag")
	return 0
}

// mark adds a name once.
func mark(l *glua.LState, to []string, arg int, what string) []string {
	name, ok := l.Get(arg).(glua.LString)
	if !ok || name == "" || len(name) > 100 {
		fail(l, "the name of a %s must be a string of 1 to 100 bytes, not %s", what, kindOf(l.Get(arg)))
	}
	if slices.Contains(to, string(name)) {
		return to
	}
	if len(to) >= maxMarks {
		fail(l, "more than %d %ss on one event", maxMarks, what)
	}
	return append(to, string(name))
}
