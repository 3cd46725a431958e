package simulator

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"

	"go.mau.fi/whatsmeow/types"
)

// account is a number: its phone, which is device 0, and its companions.
type account struct {
	s           *Server
	number, lid string
	phone       *Phone
	profile     profile
	state       appState

	linking  sync.Mutex // one companion comes or goes at a time; taken before mu
	entering sync.Mutex // one code is tried at a time; taken before linking

	mu       sync.Mutex
	name     string
	record   accountRecord
	devices  map[uint16]*Device
	proposed map[uint16]*Device // companions that have not signed, see link.go
	code     *codePairing       // the newest client that waits for a code of this number; the server's mu guards it
	spoil    LinkFault          // of the next pairing
	contacts map[string]bool    // numbers that it exchanged messages with
}

func newAccount(s *Server, rec accountRecord) *account {
	a := &account{
		s: s, number: rec.Number, lid: rec.LID, name: rec.Name, record: rec,
		devices: map[uint16]*Device{}, proposed: map[uint16]*Device{}, contacts: map[string]bool{},
	}
	a.state.a = a
	a.phone = newPhone(a, rec)
	a.devices[0] = a.phone.dev
	return a
}

func (a *account) pn() types.JID     { return types.NewJID(a.number, types.DefaultUserServer) }
func (a *account) hidden() types.JID { return types.NewJID(a.lid, types.HiddenUserServer) }
func (a *account) as(hidden bool) types.JID {
	if hidden {
		return a.hidden()
	}
	return a.pn()
}

func (a *account) pushName() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name
}

// all returns the account's devices, phone first, then by id.
func (a *account) all() []*Device {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]*Device, 0, len(a.devices))
	for id := uint16(0); len(out) < len(a.devices); id++ {
		if d := a.devices[id]; d != nil {
			out = append(out, d)
		}
	}
	return out
}

func (a *account) device(id uint16) *Device {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.devices[id]
}

// findAccount returns the account that a JID of either kind names, or nil.
func (s *Server) findAccount(jid types.JID) *account {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch jid.Server {
	case types.DefaultUserServer, types.LegacyUserServer:
		return s.byNumber[strings.TrimPrefix(jid.User, "+")]
	case types.HiddenUserServer:
		return s.byLID[jid.User]
	}
	return nil
}

// findDevice returns the device that a JID of either kind names, or nil.
func (s *Server) findDevice(jid types.JID) *Device {
	if a := s.findAccount(jid); a != nil {
		return a.device(jid.Device)
	}
	return nil
}

// meet notes that two accounts know each other, so that each is told when the
// other's devices change. It adds to b what has to be kept.
func (a *account) meet(other *account, b *batch) {
	if a == other {
		return
	}
	for _, pair := range [2][2]*account{{a, other}, {other, a}} {
		one, two := pair[0], pair[1]
		one.mu.Lock()
		known := one.contacts[two.number]
		one.contacts[two.number] = true
		one.mu.Unlock()
		if !known {
			b.put("c/"+one.number+"/"+two.number, nil)
		}
	}
}

// friends returns the accounts that were met.
func (a *account) friends() []*account {
	a.mu.Lock()
	numbers := make([]string, 0, len(a.contacts))
	for n := range a.contacts {
		numbers = append(numbers, n)
	}
	a.mu.Unlock()
	var out []*account
	for _, n := range numbers {
		if f := a.s.account(n); f != nil {
			out = append(out, f)
		}
	}
	return out
}

func randomUint32() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return binary.BigEndian.Uint32(b[:])
}

// newMessageID makes an id as phones do: 3A and 30 hex digits.
func newMessageID() string {
	var b [15]byte
	_, _ = rand.Read(b[:])
	return "3A" + strings.ToUpper(hex.EncodeToString(b[:]))
}
