package lua

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	glua "github.com/yuin/gopher-lua"

	"github.com/wildcathub/wildcat/sdk"
)

// trigger is what wildcat.on tests in Go, so that Lua is not entered in vain.
// An empty list and anyBool mean: any.
type trigger struct {
	fromMe, group, hasMedia            tri
	prefix, equals, contains           []string
	chat, account, kind                []string
	regex                              *regexp.Regexp
	prefix1, equals1                   string // the only element, else ""
	noChat, noAccount, noKind, noTexts bool
	// first is the first byte of prefix1 or equals1, where there is one.
	first byte
}

// tri is true, false or any.
type tri int8

const (
	anyBool tri = iota
	yes
	no
)

func (t tri) is(b bool) bool { return t == anyBool || (t == yes) == b }

func triOf(b bool) tri {
	if b {
		return yes
	}
	return no
}

// triggerKeys are the keys that wildcat.on knows.
func triggerKeys() []string {
	return []string{
		"account", "chat", "contains", "equals", "from_me", "group", "has_media", "kind", "prefix", "regex",
	}
}

func isGroup(ev *sdk.Event) bool { return strings.HasSuffix(ev.Chat, "@g.us") }

// isPublic says whether a chat is one that people read and do not talk in: status updates,
// broadcast lists, channels. A handler gets their messages only if it names the chat: an
// answer would be published, or refused.
func isPublic(ev *sdk.Event) bool {
	return strings.HasSuffix(ev.Chat, "@broadcast") || strings.HasSuffix(ev.Chat, "@newsletter")
}

// misses is the quickest test: the first byte of the text. It is small enough to be
// compiled into its caller.
func (t *trigger) misses(m *sdk.Message) bool {
	return t.first != 0 && (len(m.Text) == 0 || m.Text[0] != t.first)
}

// match says whether the event may go to the handler. It is made for every event
// and allocates nothing.
func (t *trigger) match(ev *sdk.Event) bool {
	m := ev.Message
	if m == nil || ev.Type != sdk.TypeMessage || !t.fromMe.is(m.FromMe) {
		return false
	}
	if t.prefix1 != "" && !strings.HasPrefix(m.Text, t.prefix1) || t.equals1 != "" && m.Text != t.equals1 {
		return false
	}
	if !t.noTexts && !t.texts(m.Text) {
		return false
	}
	if t.group != anyBool && !t.group.is(isGroup(ev)) || t.hasMedia != anyBool && !t.hasMedia.is(m.Media != nil) {
		return false
	}
	if !t.noKind && !slices.Contains(t.kind, string(m.Kind)) || !t.noAccount && !slices.Contains(t.account, ev.Account) {
		return false
	}
	if t.noChat && isPublic(ev) || !t.noChat && !chatIn(t.chat, ev) {
		return false
	}
	return t.regex == nil || t.regex.MatchString(m.Text)
}

func (t *trigger) texts(text string) bool {
	has := func(list []string, f func(s, sub string) bool) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(s string) bool { return f(text, s) })
	}
	return has(t.prefix, strings.HasPrefix) && has(t.contains, strings.Contains) &&
		(len(t.equals) == 0 || slices.Contains(t.equals, text))
}

// chatIn says whether the event's chat, under either of its names, is listed. A
// listed chat without "@" is a bare number.
func chatIn(list []string, ev *sdk.Event) bool {
	other := ev.Chat
	if ev.Message != nil {
		other = ev.Message.Chat
	}
	for _, want := range list {
		if sameChat(want, ev.Chat) || other != ev.Chat && sameChat(want, other) {
			return true
		}
	}
	return false
}

func sameChat(want, jid string) bool {
	if want == jid {
		return true
	}
	return len(jid) > len(want) && jid[len(want)] == '@' && jid[:len(want)] == want
}

// prepare computes what match looks at first.
func (t *trigger) prepare() {
	if len(t.prefix) == 1 {
		t.prefix1, t.prefix = t.prefix[0], nil
	}
	if len(t.equals) == 1 {
		t.equals1, t.equals = t.equals[0], nil
	}
	if s := t.prefix1 + t.equals1; s != "" {
		t.first = s[0]
	}
	t.noChat, t.noAccount, t.noKind = len(t.chat) == 0, len(t.account) == 0, len(t.kind) == 0
	t.noTexts = len(t.prefix) == 0 && len(t.equals) == 0 && len(t.contains) == 0
}

// same says whether two runs of a file's own code made the same trigger.
func (t *trigger) same(o *trigger) bool {
	text := func(t *trigger) string {
		re := ""
		if t.regex != nil {
			re = t.regex.String()
		}
		return fmt.Sprintf("%q %q %q %q %q %q %q %q %q %d %d %d", re, t.prefix1, t.equals1, t.prefix, t.equals,
			t.contains, t.chat, t.account, t.kind, t.fromMe, t.group, t.hasMedia)
	}
	return text(t) == text(o)
}

// mistake is a wrong key of a trigger table.
type mistake struct{ key, text string }

// readTrigger reads the table given to wildcat.on; all mistakes are returned.
func readTrigger(tb *glua.LTable) (trigger, []mistake) {
	t := trigger{fromMe: no}
	var bad []mistake
	wrong := func(key, format string, args ...any) { bad = append(bad, mistake{key, fmt.Sprintf(format, args...)}) }
	type pair struct {
		key   string
		value glua.LValue
	}
	var pairs []pair
	tb.ForEach(func(k, v glua.LValue) {
		key, ok := k.(glua.LString)
		if !ok {
			wrong("", "a trigger is written as name = value, but %s has no name", describe(v))
			return
		}
		pairs = append(pairs, pair{string(key), v})
	})
	// A table has no order; the report should have one.
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	for _, p := range pairs {
		list := func(into *[]string) {
			got, ok := stringList(p.value)
			if !ok {
				wrong(p.key, "trigger %s must be a string or a list of strings, not %s", p.key, describe(p.value))
				return
			}
			*into = got
		}
		flag := func(into *tri) {
			switch v := p.value.(type) {
			case glua.LBool:
				*into = triOf(bool(v))
				return
			case glua.LString:
				if v == "any" {
					*into = anyBool
					return
				}
			}
			wrong(p.key, `trigger %s must be true, false or "any", not %s`, p.key, describe(p.value))
		}
		switch p.key {
		case "prefix":
			list(&t.prefix)
		case "equals":
			list(&t.equals)
		case "contains":
			list(&t.contains)
		case "chat":
			list(&t.chat)
		case "account":
			list(&t.account)
		case "kind":
			list(&t.kind)
		case "group":
			flag(&t.group)
		case "from_me":
			flag(&t.fromMe)
		case "has_media":
			flag(&t.hasMedia)
		case "regex":
			s, ok := p.value.(glua.LString)
			if !ok {
				wrong(p.key, "trigger regex must be a string, not %s", describe(p.value))
				continue
			}
			re, err := regexp.Compile(string(s))
			if err != nil {
				wrong(p.key, "trigger regex: %v", err)
				continue
			}
			t.regex = re
		default:
			wrong(p.key, "unknown trigger %q%s", p.key, suggest(p.key, triggerKeys()))
		}
	}
	t.prepare()
	return t, bad
}

// stringList reads a string or a list of non-empty strings.
func stringList(v glua.LValue) ([]string, bool) {
	switch v := v.(type) {
	case glua.LString:
		return []string{string(v)}, v != ""
	case *glua.LTable:
		var out []string
		for i := 1; i <= v.Len(); i++ {
			s, ok := v.RawGetInt(i).(glua.LString)
			if !ok || s == "" {
				return nil, false
			}
			out = append(out, string(s))
		}
		return out, len(out) > 0
	}
	return nil, false
}

// describe names a value in an error, without its content unless that is short.
func describe(v glua.LValue) string {
	switch v := v.(type) {
	case glua.LString:
		if v == "" {
			return "an empty string"
		}
		return fmt.Sprintf("%q", clip(string(v)))
	case glua.LNumber:
		return "the number " + numberString(v)
	case glua.LBool:
		return v.String()
	case *glua.LNilType:
		return "nil"
	}
	return "a " + v.Type().String()
}

// kindOf names a value without its content, for errors of handlers: their values
// may be the text of a message, which belongs in no log.
func kindOf(v glua.LValue) string {
	if s, ok := v.(glua.LString); ok {
		return fmt.Sprintf("a string of %d bytes", len(s))
	}
	return describe(v)
}

// suggest offers the known word nearest to a misspelt one.
func suggest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return "; known are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is how many letters have to be added, dropped or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
