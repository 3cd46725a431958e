package simulator

import (
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

type phoneInfo struct {
	Number     string   `json:"number"`
	LID        string   `json:"lid"`
	Name       string   `json:"name"`
	Companions []string `json:"companions"`
}

func infoOf(p *Phone) phoneInfo {
	out := phoneInfo{p.Number(), p.LID(), p.Name(), []string{}}
	for _, d := range p.Companions() {
		out.Companions = append(out.Companions, d.JID().String())
	}
	return out
}

// Phones returns all phones, ordered by number.
func (s *Server) Phones() []*Phone {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Phone, 0, len(s.byNumber))
	for _, a := range s.byNumber {
		out = append(out, a.phone)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Number() < out[j].Number() })
	return out
}

func (s *Server) controlAddPhone(r *http.Request) (any, error) {
	var body struct{ Number, Name string }
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	p, err := s.AddPhone(body.Number, body.Name)
	if err != nil {
		return nil, err
	}
	return infoOf(p), nil
}

func (s *Server) controlPhones(*http.Request) (any, error) {
	list := []phoneInfo{}
	for _, p := range s.Phones() {
		list = append(list, infoOf(p))
	}
	return map[string]any{"phones": list}, nil
}

func (s *Server) controlPhone(number string) (*Phone, error) {
	if p := s.Phone(number); p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%q: %w", number, ErrUnknownNumber)
}

func (s *Server) controlScan(r *http.Request) (any, error) {
	p, err := s.controlPhone(r.PathValue("number"))
	if err != nil {
		return nil, err
	}
	var body struct{ QR string }
	if err = readJSON(r, &body); err != nil {
		return nil, err
	}
	d, err := p.LinkQR(r.Context(), body.QR)
	if err != nil {
		return nil, err
	}
	return map[string]string{"jid": d.JID().String(), "lid": d.LID().String()}, nil
}

func (s *Server) controlSend(r *http.Request) (any, error) {
	p, err := s.controlPhone(r.PathValue("number"))
	if err != nil {
		return nil, err
	}
	var body struct{ To, Text, Quoted, ID string }
	if err = readJSON(r, &body); err != nil {
		return nil, err
	}
	id, err := p.SendText(r.Context(), body.To, body.Text, SendOptions{Quote: body.Quoted, ID: body.ID})
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": id}, nil
}

// controlSendBatch sends many messages in order; for load.
func (s *Server) controlSendBatch(r *http.Request) (any, error) {
	var body struct {
		Messages []struct{ From, To, Text string }
	}
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(body.Messages))
	for i, m := range body.Messages {
		p, err := s.controlPhone(m.From)
		if err == nil {
			var id string
			id, err = p.SendText(r.Context(), m.To, m.Text)
			ids = append(ids, id)
		}
		if err != nil {
			return nil, fmt.Errorf("message %d of %d, those before it are sent: %w", i+1, len(body.Messages), err)
		}
	}
	return map[string]any{"ids": ids}, nil
}

func (s *Server) controlReceived(r *http.Request) (any, error) {
	p, err := s.controlPhone(r.PathValue("number"))
	if err != nil {
		return nil, err
	}
	after := 0
	if v := r.URL.Query().Get("after"); v != "" {
		if after, err = strconv.Atoi(v); err != nil || after < 0 {
			return nil, &controlError{http.StatusBadRequest, "bad_after", "after: want a number of a message"}
		}
	}
	return map[string]any{"messages": p.Received(after)}, nil
}

func (s *Server) controlUnlinkPhone(r *http.Request) (any, error) {
	p, err := s.controlPhone(r.PathValue("number"))
	if err == nil {
		err = p.Unlink()
	}
	return struct{}{}, err
}

func parseDeviceJID(jid string) (types.JID, error) {
	if !strings.Contains(jid, "@") {
		jid += "@" + types.DefaultUserServer
	}
	return types.ParseJID(jid)
}
