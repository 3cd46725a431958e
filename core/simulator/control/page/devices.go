package page

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/wildcathub/wildcat/core/simulator"
)

// onDevice cuts, unlinks, or ends the connection of a linked device with an error.
func (p *page) onDevice(r *http.Request) (string, error) {
	phone, err := p.number(r)
	if err != nil {
		return "", err
	}
	back := at(phone.Number(), r.PostFormValue("chat"))
	d := p.s.Device(r.PathValue("id"))
	if d == nil || d.IsPhone() {
		return back, fmt.Errorf("no linked device %s", r.PathValue("id"))
	}
	switch r.PostFormValue("do") {
	case "cut":
		d.Cut()
	case "unlink":
		return back, d.Unlink()
	case "code":
		kind, digits, _ := strings.Cut(r.PostFormValue("code"), "-")
		code, err := strconv.Atoi(digits)
		if err != nil || code < 100 || code > 999 {
			return back, fmt.Errorf("code %q", digits)
		}
		if kind == "stream" {
			d.StreamError(code)
			return back, nil
		}
		if err = refuseNext(p.s, d, code); err == nil {
			d.Cut() // so that there is a next login
		}
		return back, err
	}
	return back, nil
}

// banned are the words of a ban for a time: too many people blocked the number, for an hour.
const (
	banCode   = 102
	banExpire = 3600
)

// refuseNext refuses a device's next login.
func refuseNext(s *simulator.Server, d *simulator.Device, code int) error {
	f := simulator.Fault{Name: "from the page", Action: simulator.FaultLoginFailure, Device: d.JID().String(), Code: code, Times: 1}
	if code == http.StatusPaymentRequired {
		f.BanCode, f.ExpireS = banCode, banExpire
	}
	_, err := s.AddFault(f)
	return err
}
