package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

const (
	// mediaHost and mediaFallback are the names under which clients are told to reach the media host; a
	// client tries the next when one fails (whatsmeow: download.go, DownloadMediaWithPath). Which of them is
	// dialled makes no difference here.
	mediaHost     = "mmg.whatsapp.net"
	mediaFallback = "mmg-fallback.whatsapp.net"

	// mediaSuffix ends the paths of encrypted files.
	mediaSuffix = ".enc"

	// mediaConnTTL is how long a client uses one answer to media_conn, and mediaAuthTTL how long what
	// it says may be used, in seconds.
	mediaConnTTL = 300
	mediaAuthTTL = 6 * 3600
)

// handleMedia answers media_conn: where to upload to and download from (whatsmeow: mediaconn.go).
func (s *Server) handleMedia(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	if !hasChild(iq, "media_conn") {
		return nil, errNotImplemented
	}
	return []waBinary.Node{{
		Tag: "media_conn",
		Attrs: waBinary.Attrs{
			"auth": s.mediaAuth(c.dev), "ttl": strconv.Itoa(mediaConnTTL), "auth_ttl": strconv.Itoa(mediaAuthTTL),
			"max_buckets": "12",
		},
		Content: []waBinary.Node{
			{Tag: "host", Attrs: waBinary.Attrs{"hostname": mediaHost, "type": "primary"}},
			{Tag: "host", Attrs: waBinary.Attrs{"hostname": mediaFallback, "type": "fallback"}},
		},
	}}, nil
}

// mediaAuth is what lets a device upload. It is signed and not kept, since a client goes on using it when the
// server was restarted.
func (s *Server) mediaAuth(d *Device) string {
	text := d.JID().String() + " " + strconv.FormatInt(s.now()+mediaAuthTTL, 10)
	return base64.RawURLEncoding.EncodeToString([]byte(text + " " + s.signMedia("auth", text)))
}

func (s *Server) checkMediaAuth(auth string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(auth)
	parts := strings.Split(string(raw), " ")
	if err != nil || len(parts) != 3 || !hmac.Equal([]byte(parts[2]), []byte(s.signMedia("auth", parts[0]+" "+parts[1]))) {
		return false
	}
	expires, err := strconv.ParseInt(parts[1], 10, 64)
	return err == nil && s.now() < expires && s.Device(parts[0]) != nil // nil once it is unlinked
}

// mediaPath is the direct path of a link: it has a query, to which a client adds hash and mms-type. As with
// WhatsApp's own, oe is when it expires, in hexadecimal Unix time, and oh signs it.
func (s *Server) mediaPath(l *mediaLink) string {
	path := "/v/" + mediaClass(l.Type) + "/" + l.ID + mediaSuffix
	if strings.HasPrefix(l.Type, newsletterPrefix) {
		path = "/m1/v/t24/" + l.ID
	}
	expires := strconv.FormatInt(l.Expires, 16)
	return path + "?ccb=11-4&oh=" + s.signMedia("path", path+" "+expires) + "&oe=" + expires + "&_nc_sid=5e03e0"
}

func (s *Server) mediaURL(l *mediaLink) string {
	return "https://" + mediaHost + s.mediaPath(l) + "&mms3=true"
}

func (s *Server) checkMediaPath(path string, query url.Values) (expires int64, ok bool) {
	oe := query.Get("oe")
	expires, err := strconv.ParseInt(oe, 16, 64)
	return expires, err == nil && hmac.Equal([]byte(query.Get("oh")), []byte(s.signMedia("path", path+" "+oe)))
}

// signMedia signs with a key that follows from the server's own, and so outlives a restart.
func (s *Server) signMedia(use, text string) string {
	h := hmac.New(sha256.New, s.id.static.Priv[:])
	h.Write([]byte("media " + use + " " + text))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// mediaClass is the folder that WhatsApp uses for a type.
func mediaClass(kind string) string {
	switch kind {
	case "image":
		return "t62.7118-24"
	case "video":
		return "t62.7161-24"
	case "audio", "ptt":
		return "t62.7117-24"
	}
	return "t62.7119-24"
}

// HostedMedia is one file on the media host.
type HostedMedia struct {
	ID string `json:"id"`
	// Type is that of the upload's path: "image", "audio", "newsletter-image", …
	Type string `json:"type"`
	// Size, in bytes, and SHA256, in hexadecimal, are those of what is served: encrypted, but for newsletters.
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Path is the direct path, as messages carry it.
	Path    string    `json:"path"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// Media lists what the media host serves, oldest first.
func (s *Server) Media() []HostedMedia {
	now := s.now()
	out := []HostedMedia{}
	for _, l := range s.media.all() {
		if l.Expires > now {
			out = append(out, HostedMedia{
				ID: l.ID, Type: l.Type, Size: l.Size, SHA256: l.hash().String(), Path: s.mediaPath(&l),
				Created: time.Unix(l.Created, 0).UTC(), Expires: time.Unix(l.Expires, 0).UTC(),
			})
		}
	}
	return out
}

// DeleteMedia takes a file off the media host, durably: from then on its path answers 404, and a client has to ask
// the phone to upload it again. Phones keep what they have. The error of an unknown id is [ErrUnknownMedia].
func (s *Server) DeleteMedia(id string) error { return s.unlink(id) }

func writeMediaJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the caller is gone if this fails
}
