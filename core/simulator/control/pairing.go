package control

import (
	"net/http"

	"github.com/wildcathub/wildcat/core/simulator"
)

type pairingCode struct {
	Code string `json:"code" doc:"eight characters, with or without the dash"`
}

func (a *api) enterCode(r *http.Request, in pairingCode) (linked, error) {
	p, err := a.phone(r)
	if err != nil {
		return linked{}, err
	}
	d, err := p.EnterCode(r.Context(), in.Code)
	if err != nil {
		return linked{}, err
	}
	return linked{d.JID().String(), d.LID().String()}, nil
}

type linkFault struct {
	How simulator.LinkFault `json:"how" doc:"hmac, signature or malformed; empty takes it back"`
}

func (a *api) spoilLink(r *http.Request, in linkFault) (none, error) {
	p, err := a.phone(r)
	if err != nil {
		return none{}, err
	}
	switch in.How {
	case "", simulator.LinkWrongHMAC, simulator.LinkWrongSignature, simulator.LinkMalformed:
		p.SpoilLink(in.How)
		return none{}, nil
	}
	return none{}, badRequest("bad_fault", "how: want hmac, signature or malformed")
}

// snapshot answers with the whole state. What is cut off by an error is refused when it is
// restored.
func (a *api) snapshot(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="sandbox.snapshot"`)
	return a.s.Snapshot(w)
}
