package control

import (
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/wildcathub/wildcat/core/simulator"
)

type phoneInfo struct {
	Number     string   `json:"number"`
	LID        string   `json:"lid" doc:"the hidden identifier"`
	Name       string   `json:"name"`
	Companions []string `json:"companions" doc:"JIDs of the linked devices"`
}

func infoOf(p *simulator.Phone) phoneInfo {
	out := phoneInfo{p.Number(), p.LID(), p.Name(), []string{}}
	for _, d := range p.Companions() {
		out.Companions = append(out.Companions, d.JID().String())
	}
	return out
}

type newPhone struct {
	Number string `json:"number" doc:"5 to 15 digits, with or without a plus"`
	Name   string `json:"name,omitempty" doc:"shown to others"`
}

func (a *api) addPhone(_ *http.Request, in newPhone) (phoneInfo, error) {
	if utf8.RuneCountInString(in.Name) > simulator.NameLimit {
		return phoneInfo{}, badRequest("bad_name", "name: want at most "+strconv.Itoa(simulator.NameLimit)+" characters")
	}
	p, err := a.s.AddPhone(in.Number, in.Name)
	if err != nil {
		return phoneInfo{}, err
	}
	return infoOf(p), nil
}

type phoneList struct {
	Phones []phoneInfo `json:"phones"`
}

func (a *api) phones(*http.Request) (phoneList, error) {
	list := phoneList{[]phoneInfo{}}
	for _, p := range a.s.Phones() {
		list.Phones = append(list.Phones, infoOf(p))
	}
	return list, nil
}

// phone is the phone that the request's path names.
func (a *api) phone(r *http.Request) (*simulator.Phone, error) {
	return a.byNumber(r.PathValue("number"))
}

func (a *api) byNumber(number string) (*simulator.Phone, error) {
	if p := a.s.Phone(number); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%q: %w", number, simulator.ErrUnknownNumber)
}

type qrCode struct {
	QR string `json:"qr" doc:"the text of the QR code"`
}

type linked struct {
	JID string `json:"jid"`
	LID string `json:"lid"`
}

func (a *api) scan(r *http.Request, in qrCode) (linked, error) {
	p, err := a.phone(r)
	if err != nil {
		return linked{}, err
	}
	d, err := p.LinkQR(r.Context(), in.QR)
	if err != nil {
		return linked{}, err
	}
	return linked{d.JID().String(), d.LID().String()}, nil
}

func (a *api) unlinkPhone(r *http.Request) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.Unlink()
	}
	return none{}, err
}
