package page

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/wildcathub/wildcat/core/simulator"
)

type formFunc = func(*http.Request) (back string, err error)

// forms are what the page's forms do, by path under /sandbox/ui/.
func (p *page) forms() map[string]formFunc {
	return map[string]formFunc{
		"phones":                          p.addPhone,
		"phones/{number}/scan":            p.onPhone(scan),
		"phones/{number}/enter-code":      p.onPhone(enterCode),
		"phones/{number}/unlink":          p.onPhone(func(phone *simulator.Phone, _ *http.Request) error { return phone.Unlink() }),
		"phones/{number}/open":            p.openChat,
		"phones/{number}/profile":         p.onPhone(changeProfile),
		"phones/{number}/send":            p.onPhone(send),
		"phones/{number}/react":           p.onPhone(react),
		"phones/{number}/revoke":          p.onPhone(revoke),
		"phones/{number}/vote":            p.onPhone(vote),
		"phones/{number}/read":            p.onPhone(read),
		"phones/{number}/groups":          p.newGroup,
		"phones/{number}/join":            p.joinGroup,
		"phones/{number}/group":           p.onPhone(inGroup),
		"phones/{number}/devices/{id}/do": p.onDevice,
	}
}

// onPhone makes a form of something that a phone does; the chat stays open.
func (p *page) onPhone(do func(*simulator.Phone, *http.Request) error) formFunc {
	return func(r *http.Request) (string, error) {
		phone, err := p.number(r)
		if err != nil {
			return "", err
		}
		return at(phone.Number(), r.PostFormValue("chat")), do(phone, r)
	}
}

func (p *page) addPhone(r *http.Request) (string, error) {
	number := strings.Map(func(c rune) rune { // as people write numbers
		if strings.ContainsRune(" -()", c) {
			return -1
		}
		return c
	}, r.PostFormValue("number"))
	phone, err := p.s.AddPhone(number, strings.TrimSpace(r.PostFormValue("name")))
	if err != nil {
		return "", err
	}
	return at(phone.Number(), ""), nil
}

func scan(phone *simulator.Phone, r *http.Request) error {
	_, err := phone.LinkQR(r.Context(), strings.TrimSpace(r.PostFormValue("qr")))
	return err
}

func enterCode(phone *simulator.Phone, r *http.Request) error {
	_, err := phone.EnterCode(r.Context(), strings.TrimSpace(r.PostFormValue("code")))
	return err
}

// openChat opens a chat that has no messages yet.
func (p *page) openChat(r *http.Request) (string, error) {
	chat := strings.TrimSpace(r.PostFormValue("chat"))
	back := at(r.PathValue("number"), "")
	if strings.Contains(chat, "@") {
		return at(r.PathValue("number"), chat), nil
	}
	other := p.s.Phone(chat)
	if other == nil {
		return back, simulator.ErrUnknownNumber
	}
	return at(r.PathValue("number"), other.Number()), nil
}

var errNothing = errors.New("nothing to send")

// send sends what the composer holds: a changed text, or a new one.
func send(phone *simulator.Phone, r *http.Request) error {
	ctx, chat, text := r.Context(), r.PostFormValue("chat"), r.PostFormValue("text")
	opts := simulator.SendOptions{Quote: r.PostFormValue("reply")}
	file, err := fileOf(r, "file")
	switch {
	case err != nil:
	case file != nil:
		file.Caption = text
		if file.Kind == simulator.KindAudio {
			file.Caption = "" // it has none
		}
		_, err = phone.SendMedia(ctx, chat, *file, opts)
	case strings.TrimSpace(text) == "":
		err = errNothing
	case r.PostFormValue("edit") != "":
		_, err = phone.Edit(ctx, chat, r.PostFormValue("edit"), text)
	default:
		_, err = phone.SendText(ctx, chat, text, opts)
	}
	return err
}

// fileOf is the file that was picked, or nil.
func fileOf(r *http.Request, field string) (*simulator.Media, error) {
	file, head, err := r.FormFile(field)
	if errors.Is(err, http.ErrMissingFile) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was read
	data, err := io.ReadAll(file)
	if err != nil || len(data) == 0 && head.Filename == "" {
		return nil, err
	}
	m := &simulator.Media{Kind: simulator.KindDocument, Data: data, MIME: head.Header.Get("Content-Type"), Name: head.Filename}
	kind, _, _ := strings.Cut(m.MIME, "/")
	switch kind {
	case "image":
		m.Kind, m.Name = simulator.KindImage, ""
	case "video":
		m.Kind, m.Name = simulator.KindVideo, ""
	case "audio":
		m.Kind, m.Name = simulator.KindAudio, ""
	}
	return m, nil
}

func react(phone *simulator.Phone, r *http.Request) error {
	_, err := phone.React(r.Context(), r.PostFormValue("chat"), r.PostFormValue("id"), r.PostFormValue("emoji"))
	return err
}

func revoke(phone *simulator.Phone, r *http.Request) error {
	_, err := phone.Revoke(r.Context(), r.PostFormValue("chat"), r.PostFormValue("id"))
	return err
}

func vote(phone *simulator.Phone, r *http.Request) error {
	_, err := phone.Vote(r.Context(), r.PostFormValue("chat"), r.PostFormValue("id"), r.PostForm["option"]...)
	return err
}

// changeProfile sets what is other than before, so that nobody is told of nothing.
func changeProfile(phone *simulator.Phone, r *http.Request) error {
	ctx := r.Context()
	if name := strings.TrimSpace(r.PostFormValue("name")); name != phone.Name() {
		if err := phone.SetPushName(ctx, name); err != nil {
			return err
		}
	}
	if about := strings.TrimSpace(r.PostFormValue("about")); about != phone.About() {
		if err := phone.SetAbout(ctx, about); err != nil {
			return err
		}
	}
	picture, err := fileOf(r, "picture")
	if err == nil && picture != nil {
		_, err = phone.SetPicture(ctx, picture.Data)
	}
	return err
}

// read marks the whole chat as read.
func read(phone *simulator.Phone, r *http.Request) error {
	chat := r.PostFormValue("chat")
	var ids []string
	for _, m := range phone.Messages(chat) {
		if m.From != phone.Number() && !m.Revoked {
			ids = append(ids, m.ID)
		}
	}
	return phone.Read(r.Context(), chat, ids...)
}

// values are the strings of a form's field, one a line or between commas.
func values(form url.Values, name string) []string {
	var out []string
	for _, v := range strings.FieldsFunc(form.Get(name), func(c rune) bool { return c == ',' || c == '\n' || c == '\r' }) {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}
