package control

import (
	"net/http"

	"github.com/wildcathub/wildcat/core/simulator"
)

type newsletterList struct {
	Newsletters []simulator.Newsletter `json:"newsletters"`
}

func (a *api) newsletters(*http.Request) (newsletterList, error) {
	out := newsletterList{[]simulator.Newsletter{}}
	for _, n := range a.s.Newsletters() {
		out.Newsletters = append(out.Newsletters, wholeNewsletter(n))
	}
	return out, nil
}

// wholeNewsletter makes a list of what would be null.
func wholeNewsletter(n simulator.Newsletter) simulator.Newsletter {
	n.Messages = append([]simulator.NewsletterMessage{}, n.Messages...)
	return n
}

type newNewsletter struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

func (a *api) newNewsletter(r *http.Request, in newNewsletter) (simulator.Newsletter, error) {
	p, err := a.phone(r)
	if err != nil {
		return simulator.Newsletter{}, err
	}
	jid, err := p.CreateNewsletter(r.Context(), in.Name, in.Description)
	if err != nil {
		return simulator.Newsletter{}, err
	}
	n, err := a.s.Newsletter(jid)
	return wholeNewsletter(n), err
}

type follow struct {
	On bool `json:"on" doc:"false stops it"`
}

func (a *api) follow(r *http.Request, in follow) (simulator.Newsletter, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.Follow(r.Context(), r.PathValue("jid"), in.On)
	}
	if err != nil {
		return simulator.Newsletter{}, err
	}
	n, err := a.s.Newsletter(r.PathValue("jid"))
	return wholeNewsletter(n), err
}
