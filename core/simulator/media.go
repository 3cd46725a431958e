package simulator

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
)

// mmsType names a kind of media in the paths of the media host (whatsmeow: download.go, mediaTypeToMMSType).
func mmsType(kind whatsmeow.MediaType) string {
	switch kind {
	case whatsmeow.MediaImage:
		return "image"
	case whatsmeow.MediaAudio:
		return "audio"
	case whatsmeow.MediaVideo:
		return "video"
	case whatsmeow.MediaHistory:
		return "md-msg-hist"
	case whatsmeow.MediaAppState:
		return "md-app-state"
	case whatsmeow.MediaStickerPack:
		return "sticker-pack"
	case whatsmeow.MediaLinkThumbnail:
		return "thumbnail-link"
	}
	return "document"
}

const newsletterPrefix = "newsletter-"

func knownMMSType(name string) bool {
	switch strings.TrimPrefix(name, newsletterPrefix) {
	case "image", "audio", "ptt", "video", "document", "md-msg-hist", "md-app-state", "sticker-pack", "thumbnail-link":
		return true
	}
	return false
}

// mountMedia adds the media host to the server's handler: uploads, and the paths that it handed out for them.
func (s *Server) mountMedia(mux *http.ServeMux) {
	for pattern, handle := range map[string]http.HandlerFunc{
		"POST /mms/{type}/{token}":        s.serveUpload,
		"POST /newsletter/{type}/{token}": s.serveUpload,
		"GET /v/{class}/{name}":           s.serveMedia,
		"GET /m1/v/{class}/{name}":        s.serveMedia,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if !s.enter() {
				refuseMedia(w, http.StatusServiceUnavailable, "closed")
				return
			}
			defer s.work.Done()
			s.faultyMedia(handle).ServeHTTP(w, r)
		})
	}
}

// enter counts a request among what Close waits for; false once the server is closed.
func (s *Server) enter() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	return true
}

// serveUpload takes an upload (whatsmeow: upload.go, rawUpload): the token in the path and in the
// query is base64url(sha256(body)), and auth came with the answer to media_conn.
func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	kind, token := r.PathValue("type"), r.PathValue("token")
	query := r.URL.Query()
	if !s.checkMediaAuth(query.Get("auth")) {
		refuseMedia(w, http.StatusUnauthorized, "auth")
		return
	}
	want, err := decodeBase64URL(token)
	newsletter := strings.HasPrefix(kind, newsletterPrefix)
	if !knownMMSType(kind) || newsletter != strings.HasPrefix(r.URL.Path, "/newsletter/") ||
		err != nil || len(want) != len(mediaHash{}) || query.Get("token") != token {
		refuseMedia(w, http.StatusBadRequest, "type or token")
		return
	}
	if r.ContentLength > s.opts.MediaLimit {
		refuseMedia(w, http.StatusRequestEntityTooLarge, "too large")
		return
	}
	part, err := s.media.part(s.opts.MediaLimit)
	if err != nil {
		s.failMedia(w, err)
		return
	}
	defer part.discard()
	if _, err = io.Copy(part, r.Body); errors.Is(err, errMediaTooLarge) {
		refuseMedia(w, http.StatusRequestEntityTooLarge, "too large")
		return
	} else if err != nil {
		refuseMedia(w, http.StatusBadRequest, "cut off")
		return
	}
	if part.hash() != mediaHash(want) {
		refuseMedia(w, http.StatusBadRequest, "token is not the hash of the body")
		return
	}
	l, err := s.publish(part, kind)
	if err != nil {
		s.failMedia(w, err)
		return
	}
	writeMediaJSON(w, http.StatusOK, map[string]string{
		"url": s.mediaURL(l), "direct_path": s.mediaPath(l),
		"handle": base64.StdEncoding.EncodeToString([]byte(l.ID)), "object_id": l.ID,
	})
}

// serveMedia serves a path that the host handed out. What the client adds to it, hash and mms-type, is
// optional; a hash has to be the file's.
func (s *Server) serveMedia(w http.ResponseWriter, r *http.Request) {
	l, status := s.findMedia(r.URL)
	if status != 0 {
		refuseMedia(w, status, http.StatusText(status))
		return
	}
	content, err := s.media.open(l.hash())
	if errors.Is(err, ErrUnknownMedia) { // deleted just now
		refuseMedia(w, http.StatusNotFound, http.StatusText(http.StatusNotFound))
		return
	} else if err != nil {
		s.failMedia(w, err)
		return
	}
	defer func() { _ = content.Close() }()
	// Whatever it is, a browser must not take it for a page of this host, which has the control API.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("ETag", `"`+l.hash().String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
}

// findMedia returns the link that a URL or a direct path names, or the status that refuses it: 403 for one
// that the host did not hand out, 410 for one that has expired, 404 for a file that is not there.
func (s *Server) findMedia(u *url.URL) (*mediaLink, int) {
	query := u.Query()
	expires, ok := s.checkMediaPath(u.Path, query)
	if !ok {
		return nil, http.StatusForbidden
	}
	if s.now() >= expires {
		return nil, http.StatusGone
	}
	l, ok := s.media.find(strings.TrimSuffix(path.Base(u.Path), mediaSuffix))
	if !ok {
		return nil, http.StatusNotFound
	}
	if hash := query.Get("hash"); hash != "" {
		if raw, err := decodeBase64URL(hash); err != nil || string(raw) != string(l.Hash) {
			return nil, http.StatusNotFound
		}
	}
	return &l, 0
}

func refuseMedia(w http.ResponseWriter, status int, why string) {
	writeMediaJSON(w, status, map[string]any{"error": map[string]any{"code": status, "message": why}})
}

func (s *Server) failMedia(w http.ResponseWriter, err error) {
	s.log.Error("media host", "err", err)
	refuseMedia(w, http.StatusInternalServerError, "internal")
}

func decodeBase64URL(text string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
}
