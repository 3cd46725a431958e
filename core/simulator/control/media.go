package control

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

type mediaList struct {
	Media []simulator.HostedMedia `json:"media" doc:"the oldest first"`
}

func (a *api) media(*http.Request) (mediaList, error) { return mediaList{a.s.Media()}, nil }

func (a *api) deleteMedia(r *http.Request) (none, error) {
	return none{}, a.s.DeleteMedia(r.PathValue("id"))
}

// upload sends the request's body as a file, for scripts that have it on disk.
func (a *api) upload(r *http.Request) (messageID, error) {
	p, err := a.phone(r)
	if err != nil {
		return messageID{}, err
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return messageID{}, bodyError("bad_body", err)
	}
	q := r.URL.Query()
	m := simulator.Media{Kind: q.Get("kind"), Data: data, MIME: q.Get("mime"), Name: q.Get("name"), Caption: q.Get("caption")}
	id, err := p.SendMedia(r.Context(), q.Get("to"), m, simulator.SendOptions{Quote: q.Get("quoted")})
	return messageID{id}, err
}

// received media by its number, and any message's file by chat and id.
func (a *api) receivedFile(w http.ResponseWriter, r *http.Request) error {
	p, err := a.phone(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 1 {
		return badRequest("bad_number", "n: want the number of a message that was received")
	}
	list := p.Received(n - 1)
	if len(list) == 0 {
		return simulator.ErrUnknownMessage
	}
	return serveFile(w, r, p, list[0])
}

func (a *api) file(w http.ResponseWriter, r *http.Request) error {
	p, err := a.phone(r)
	if err != nil {
		return err
	}
	m, ok := p.Message(r.URL.Query().Get("chat"), r.URL.Query().Get("id"))
	if !ok {
		return simulator.ErrUnknownMessage
	}
	return serveFile(w, r, p, m)
}

// shownTypes are those of files that a browser may show; every other is handed out to be
// saved only, since a page of a sender's own could do on this origin whatever the API can.
func shownTypes() []string {
	return []string{
		"image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/webm", "audio/ogg", "audio/mpeg", "audio/mp4",
		"audio/aac", "audio/wav", "audio/x-wav", "audio/webm", "video/3gpp", "audio/amr",
	}
}

func serveFile(w http.ResponseWriter, r *http.Request, p *simulator.Phone, m simulator.Message) error {
	data, err := p.Download(r.Context(), m)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	name, said := "", ""
	if m.Media != nil {
		name, said = m.Media.Name, m.Media.MIME
	}
	kind, _, err := mime.ParseMediaType(said)
	if err != nil || !slices.Contains(shownTypes(), kind) {
		kind = "application/octet-stream"
		disposition := mime.FormatMediaType("attachment", map[string]string{"filename": name})
		if name == "" || disposition == "" {
			disposition = "attachment"
		}
		h.Set("Content-Disposition", disposition)
	}
	h.Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	return nil
}

func (a *api) forgetMedia(r *http.Request, in target) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.ForgetMedia(in.Chat, in.ID)
	}
	return none{}, err
}

type retryAnswer struct {
	Answer simulator.MediaRetryAnswer `json:"answer" doc:"empty uploads the file again; or not-found, general-error, unavailable, silent"`
}

func (a *api) mediaRetries(r *http.Request, in retryAnswer) (none, error) {
	p, err := a.phone(r)
	if err == nil {
		err = p.AnswerMediaRetries(in.Answer)
	}
	return none{}, err
}
