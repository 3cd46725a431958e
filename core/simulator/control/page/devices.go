package page

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
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
		}
	}
	return back, nil
}
