package simulator

import (
	"encoding/json"
	"net/http"
	"sort"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

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

// Devices returns all companions of all accounts, and the phones, ordered by JID.
func (s *Server) Devices() []*Device {
	var out []*Device
	for _, p := range s.Phones() {
		out = append(out, p.acct.all()...)
	}
	return out
}

// Device returns the device that a JID names, "15550001:1@s.whatsapp.net" for instance, or nil.
func (s *Server) Device(jid string) *Device {
	parsed, err := parseDeviceJID(jid)
	if err != nil {
		return nil
	}
	return s.findDevice(parsed)
}

// IsPhone says whether the device is the phone itself, and no companion.
func (d *Device) IsPhone() bool { return d.id == 0 }

func parseDeviceJID(jid string) (types.JID, error) {
	if !strings.Contains(jid, "@") {
		jid += "@" + types.DefaultUserServer
	}
	return types.ParseJID(jid)
}

// serveRootKey answers what a hub has to know before it connects, on a server without a control API.
func (s *Server) serveRootKey(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"root_key": hexKey(s.RootKey())}) // the caller is gone if this fails
}
