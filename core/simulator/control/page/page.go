// Package page is the sandbox's page at /sandbox/: a person plays the phones on it.
//
// It owns the page's HTML, its forms and its live updates. It is rendered here, needs no
// script to work, and shows everything that came over the wire as text. What it does it does
// through the simulator's exported functions, as the control API beside it.
package page

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"

	"github.com/wildcathub/wildcat/core/simulator"
)

//go:embed templates static
var files embed.FS

// Root is where the page begins.
const Root = "/sandbox/"

const ui = Root + "ui/"

// Handler serves [Root] itself and everything under /sandbox/ui/.
func Handler(s *simulator.Server) http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is built in
	}
	p := &page{
		s: s, token: rand.Text(),
		templates: template.Must(template.New("").Funcs(functions()).ParseFS(files, "templates/*.html")),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Root+"{$}", p.home)
	mux.HandleFunc("GET "+ui+"phones/{number}", p.phone)
	mux.HandleFunc("GET "+ui+"events", p.events)
	mux.HandleFunc("GET "+ui+"static/{$}", http.NotFound) // not a list of what there is
	mux.Handle("GET "+ui+"static/", http.StripPrefix(ui+"static/", http.FileServerFS(static)))
	for path, do := range p.forms() {
		mux.Handle("POST "+ui+path, p.form(do))
	}
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

type page struct {
	s         *simulator.Server
	templates *template.Template
	// token is in every form: what another site makes a browser send does not have it.
	token string
}

// secured lets the page load nothing but itself, and be framed by nobody.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; "+
			"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin") // with none at all a form's origin would be "null"
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// render writes a page as a whole, or an error and nothing of it.
func (p *page) render(w http.ResponseWriter, name string, data any) {
	var out bytes.Buffer
	if err := p.templates.ExecuteTemplate(&out, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = out.WriteTo(w) // the reader is gone if this fails
}

// formLimit bounds what a form may send, a file included.
const formLimit = 64 << 20

// form checks a form, does what it says, and shows where the answer to that is seen: the
// page that do names, with what went wrong on it.
func (p *page) form(do func(*http.Request) (back string, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, formLimit)
		if err := r.ParseMultipartForm(1 << 20); err != nil && !errors.Is(err, http.ErrNotMultipart) {
			http.Error(w, "form: "+err.Error(), http.StatusBadRequest)
			return
		}
		if r.MultipartForm != nil {
			defer func() { _ = r.MultipartForm.RemoveAll() }() // temporary files, ours
		}
		if subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(p.token)) != 1 {
			http.Error(w, "this form is of an older page: go back and reload it", http.StatusForbidden)
			return
		}
		back, err := do(r)
		if back == "" {
			back = Root
		}
		if err != nil {
			u, parseErr := url.Parse(back)
			if parseErr != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			q := u.Query()
			q.Set("problem", err.Error())
			u.RawQuery = q.Encode()
			back = u.String()
		}
		http.Redirect(w, r, back, http.StatusSeeOther)
	})
}

// at is the page of a phone, with one of its chats open.
func at(number, chat string) string {
	back := ui + "phones/" + url.PathEscape(number)
	if chat != "" {
		back += "?" + url.Values{"chat": {chat}}.Encode()
	}
	return back
}

func (p *page) number(r *http.Request) (*simulator.Phone, error) {
	number := r.PathValue("number")
	if phone := p.s.Phone(number); phone != nil {
		return phone, nil
	}
	return nil, fmt.Errorf("%q: %w", number, simulator.ErrUnknownNumber)
}
