package simulator

// holdAll keeps all files until each is released.
func (m *mediaStore) holdAll() []mediaHash {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]mediaHash, 0, len(m.files))
	for hash, f := range m.files {
		f.refs++
		out = append(out, hash)
	}
	return out
}

// settleMedia counts who refers to the files of a snapshot, in a server without a folder:
// openMedia does it for one with a folder, from what lies there.
func (s *Server) settleMedia(held []mediaHash) {
	m := s.media
	if m.dir != "" {
		return
	}
	for id, l := range m.links {
		if _, ok := m.hold(l.hash()); !ok {
			s.log.Warn("media file is lost", "media", id)
			delete(m.links, id)
		}
	}
	s.restoreKept()
	for _, hash := range held {
		m.release(hash)
	}
}
