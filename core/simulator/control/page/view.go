package page

import (
	"hash/fnv"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wildcathub/wildcat/core/simulator"
)

// shell is what every page has around it.
type shell struct {
	Title, Token, Problem string
	// Current is the number of the phone that is open.
	Current    string
	Phones     []phoneRow
	Violations int
	Stanzas    []stanzaRow
	OfAll      bool // the stanzas are those of all devices
}

type phoneRow struct {
	Number, Name string
	Linked       int
	Online       bool // a companion is
}

func (p *page) shell(r *http.Request, title, current string) shell {
	out := shell{
		Title: title, Token: p.token, Current: current, Problem: r.URL.Query().Get("problem"),
		Violations: p.s.Stats().Violations,
	}
	out.Stanzas, out.OfAll = p.stanzas(current)
	for _, phone := range p.s.Phones() {
		row := phoneRow{Number: phone.Number(), Name: phone.Name()}
		for _, d := range phone.Companions() {
			row.Linked++
			row.Online = row.Online || d.Online()
		}
		out.Phones = append(out.Phones, row)
	}
	return out
}

func (p *page) home(w http.ResponseWriter, r *http.Request) {
	p.render(w, "home.html", p.shell(r, "Phones", ""))
}

// functions are what the templates can do besides.
func functions() template.FuncMap {
	return template.FuncMap{
		"initials": initials,
		"colour":   colour,
		"clock":    func(t time.Time) string { return t.Local().Format("15:04") },
		"stamp":    func(t time.Time) string { return t.Local().Format("15:04:05.000") },
		"join":     strings.Join,
		"args":     args,
		"preview":  preview,
	}
}

// args makes a map of names and values, for a template that needs several.
func args(pairs ...any) map[string]any {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

// initials are the first letters of up to two words.
func initials(name string) string {
	var out strings.Builder
	for i, word := range strings.Fields(name) {
		if first, _ := utf8.DecodeRuneInString(word); i < 2 {
			out.WriteRune(unicode.ToUpper(first))
		}
	}
	if out.Len() == 0 {
		return "?"
	}
	return out.String()
}

// colour is one of the eight of the style sheet, the same for the same name each time.
func colour(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails, by its contract
	return string(rune('a' + h.Sum32()%8))
}

// shorten cuts a text for a line of a list.
func shorten(text string, runes int) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) <= runes {
		return text
	}
	return string([]rune(text)[:runes-1]) + "…"
}

// preview is a message in a line of a list.
func preview(m simulator.Message) string {
	switch {
	case m.Revoked:
		return "deleted"
	case m.Poll != nil:
		return "Poll: " + shorten(m.Poll.Question, 40)
	case m.Kind == simulator.KindContact && len(m.Contacts) > 0:
		return "Contact: " + shorten(m.Contacts[0].Name, 40)
	case m.Text != "":
		return shorten(m.Text, 48)
	}
	return strings.ToUpper(m.Kind[:1]) + m.Kind[1:]
}
