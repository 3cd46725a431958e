package simulator

// restoreKept holds again the files that phones kept, after a start.
func (s *Server) restoreKept() {}
