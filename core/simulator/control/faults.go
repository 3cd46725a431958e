package control

import (
	"net/http"
	"strconv"

	"github.com/wildcathub/wildcat/core/simulator"
)

type faultList struct {
	Faults []simulator.FaultInfo `json:"faults"`
}

func (a *api) faults(*http.Request) (faultList, error) {
	out := faultList{[]simulator.FaultInfo{}}
	for _, f := range a.s.Faults() {
		out.Faults = append(out.Faults, f.Info())
	}
	return out, nil
}

func (a *api) addFault(_ *http.Request, in simulator.Fault) (simulator.FaultInfo, error) {
	f, err := a.s.AddFault(in)
	if err != nil {
		return simulator.FaultInfo{}, err
	}
	return f.Info(), nil
}

func (a *api) fault(r *http.Request) (*simulator.FaultRule, error) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err == nil {
		if f := a.s.Fault(id); f != nil {
			return f, nil
		}
	}
	return nil, &apiError{http.StatusNotFound, "unknown_fault", "no fault has this id"}
}

func (a *api) removeFault(r *http.Request) (none, error) {
	f, err := a.fault(r)
	if err == nil {
		f.Remove()
	}
	return none{}, err
}

func (a *api) clearFaults(*http.Request) (none, error) {
	a.s.ClearFaults()
	return none{}, nil
}

type release struct {
	Order simulator.Order `json:"order,omitempty" doc:"held, reversed or shuffled; empty is as held"`
}

type released struct {
	Released int `json:"released"`
}

// releaseFault hands on what a fault holds.
func (a *api) releaseFault(r *http.Request, in release) (released, error) {
	f, err := a.fault(r)
	if err != nil {
		return released{}, err
	}
	switch in.Order {
	case "", simulator.AsHeld, simulator.Reversed, simulator.Shuffled:
		return released{f.Release(in.Order)}, nil
	}
	return released{}, badRequest("bad_order", "order: want held, reversed or shuffled")
}

type refusal struct {
	Code  int `json:"code" doc:"400, 401, 402, 403, 405, 406, 409, 500 or 503, for instance"`
	Times int `json:"times,omitempty" doc:"how many logins; 0 is until the fault is removed"`
}

// loginFailure refuses a device's next logins. To have one at once, cut the connection too.
func (a *api) loginFailure(r *http.Request, in refusal) (simulator.FaultInfo, error) {
	d, err := a.device(r)
	if err != nil {
		return simulator.FaultInfo{}, err
	}
	f, err := d.LoginFailure(in.Code, in.Times)
	if err != nil {
		return simulator.FaultInfo{}, err
	}
	return f.Info(), nil
}
