package simulator

import (
	"net/http"
	"strconv"
	"time"
)

// mediaFault returns the fault that happens to a request for media now, or nil.
func (s *Server) mediaFault(r *http.Request) *Fault {
	if !s.faults.any() {
		return nil
	}
	dir := In
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		dir = Out
	}
	return s.faults.at(onMedia, nil, func(f *Fault) bool {
		return (f.Direction == "" || f.Direction == dir) && (f.Type == "" || f.Type == s.mediaTypeOf(r))
	})
}

// mediaTypeOf is the type of what a request is for: an upload names it in its path, /mms/image/TOKEN,
// a download in its query, mms-type=image, unless it comes by the whole URL of a message.
func (s *Server) mediaTypeOf(r *http.Request) string {
	if kind := r.URL.Query().Get("mms-type"); kind != "" {
		return kind
	}
	if l, status := s.findMedia(r.URL); status == 0 {
		return l.Type
	}
	return r.PathValue("type")
}

// faultyMedia serves media with whatever fault is in force for the request.
func (s *Server) faultyMedia(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.mediaFault(r)
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		switch f.Action {
		case FaultMediaStatus:
			http.Error(w, "fault", f.Code)
		case FaultMediaSlow:
			timer := time.NewTimer(time.Duration(f.DelayMS) * time.Millisecond)
			defer timer.Stop()
			select {
			case <-timer.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		case FaultMediaTruncate:
			next.ServeHTTP(&spoiler{ResponseWriter: w, truncate: true, left: -1}, r)
		case FaultMediaCorrupt:
			next.ServeHTTP(&spoiler{ResponseWriter: w}, r)
		}
	})
}

// spoiler corrupts a body, or breaks it off in the middle of what its header announces.
type spoiler struct {
	http.ResponseWriter
	truncate bool
	left     int64 // to write; -1 for not known yet
	spoiled  bool
}

// Write implements http.ResponseWriter.
func (s *spoiler) Write(p []byte) (int, error) {
	if s.truncate {
		if s.left < 0 {
			size, err := strconv.ParseInt(s.Header().Get("Content-Length"), 10, 64)
			if err != nil {
				size = int64(len(p))
				s.Header().Set("Content-Length", strconv.Itoa(len(p)))
			}
			s.left = size / 2
		}
		if int64(len(p)) < s.left {
			s.left -= int64(len(p))
			return s.ResponseWriter.Write(p)
		}
		_, _ = s.ResponseWriter.Write(p[:s.left])
		panic(http.ErrAbortHandler) // closes the connection, as net/http documents
	}
	if !s.spoiled && len(p) > 0 {
		s.spoiled = true
		p = append([]byte(nil), p...)
		p[len(p)/2] ^= 1
	}
	return s.ResponseWriter.Write(p)
}
