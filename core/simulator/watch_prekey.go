package simulator

import "sync"

// preKeyWatch remembers each one-time prekey that was ever handed out, by its public half
// and apart from the stock that it came from: a stock that is wrong cannot vouch for itself.
type preKeyWatch struct {
	mu     sync.Mutex
	issued map[[32]byte]struct{}
}

// note remembers a key, and says whether it is new.
func (w *preKeyWatch) note(pub [32]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.issued == nil {
		w.issued = map[[32]byte]struct{}{}
	}
	_, known := w.issued[pub]
	w.issued[pub] = struct{}{}
	return !known
}

// watchPreKey checks a one-time prekey that is about to be handed out. Two sessions opened
// with one prekey have the same first secret, and the second cannot be read once the client
// has used the key up.
func (s *Server) watchPreKey(d *Device, id uint32, pub [32]byte) {
	if !s.issued.note(pub) {
		s.violate("prekey issued twice", "%s: key %d", d.JID(), id)
	}
}
