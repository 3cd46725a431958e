package control

import (
	"encoding/hex"
	"net/http"
	"strconv"

	"github.com/wildcathub/wildcat/core/simulator"
)

type deviceInfo struct {
	JID       string `json:"jid"`
	LID       string `json:"lid"`
	Online    bool   `json:"online"`
	Pending   int    `json:"pending" doc:"stanzas that wait for the device's acknowledgement"`
	Acked     uint64 `json:"acked"`
	LastAck   int64  `json:"last_ack_ns" doc:"Unix time in nanoseconds, 0 for never"`
	Logins    uint64 `json:"logins"`
	LastLogin int64  `json:"last_login_ns" doc:"Unix time in nanoseconds, 0 for not since the server started"`
	PreKeys   int    `json:"prekeys" doc:"one-time prekeys that the server holds"`
}

type deviceList struct {
	Devices []deviceInfo `json:"devices"`
}

func (a *api) devices(*http.Request) (deviceList, error) {
	list := deviceList{[]deviceInfo{}}
	for _, d := range a.s.Devices() {
		if d.IsPhone() {
			continue
		}
		acked, last := d.Acked()
		info := deviceInfo{
			JID: d.JID().String(), LID: d.LID().String(), Online: d.Online(), Pending: d.Pending(),
			Acked: acked, Logins: d.Logins(), PreKeys: d.PreKeys(),
		}
		if !last.IsZero() {
			info.LastAck = last.UnixNano()
		}
		if in := d.LastLogin(); !in.IsZero() {
			info.LastLogin = in.UnixNano()
		}
		list.Devices = append(list.Devices, info)
	}
	return list, nil
}

func (a *api) device(r *http.Request) (*simulator.Device, error) {
	if d := a.s.Device(r.PathValue("jid")); d != nil && !d.IsPhone() {
		return d, nil
	}
	return nil, &apiError{http.StatusNotFound, "unknown_device", "no companion has this jid"}
}

func (a *api) cut(r *http.Request) (none, error) {
	d, err := a.device(r)
	if err == nil {
		d.Cut()
	}
	return none{}, err
}

func (a *api) unlinkDevice(r *http.Request) (none, error) {
	d, err := a.device(r)
	if err == nil {
		err = d.Unlink()
	}
	return none{}, err
}

type errorToSend struct {
	Code int `json:"code" doc:"401 device_removed, 409 replaced, 503, 515 or another of 100 to 999"`
}

func (a *api) streamError(r *http.Request, in errorToSend) (none, error) {
	d, err := a.device(r)
	if err == nil && (in.Code < 100 || in.Code > 999) {
		err = badRequest("bad_code", "code "+strconv.Itoa(in.Code))
	}
	if err == nil {
		d.StreamError(in.Code)
	}
	return none{}, err
}

type rootKey struct {
	RootKey string `json:"root_key" doc:"64 hex digits"`
}

func (a *api) rootKey(*http.Request) (rootKey, error) {
	key := a.s.RootKey()
	return rootKey{hex.EncodeToString(key[:])}, nil
}

type invariants struct {
	Count      int      `json:"count"`
	Violations []string `json:"violations" doc:"the first thousand"`
}

func (a *api) invariants(*http.Request) (invariants, error) {
	list := []string{}
	for _, v := range a.s.Violations() {
		list = append(list, v.String())
	}
	return invariants{a.s.Stats().Violations, list}, nil
}

func (a *api) stats(*http.Request) (simulator.Stats, error) { return a.s.Stats(), nil }
