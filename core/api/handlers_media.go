package api

import (
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

func (s *Server) listMedia(c *gin.Context) error {
	limit, skip := page(c)
	account, among, none := asked(c, config.AccountID) // an id that is none can have no files
	q := store.BlobQuery{Account: account, Accounts: among, Meta: map[string]string{}, Offset: skip, Limit: limit}
	for _, name := range []string{"messageId", "chatId"} {
		if v := c.Query(name); v != "" {
			q.Meta[name] = v
		}
	}
	var files []store.BlobInfo
	if !none {
		var err error
		if files, err = s.deps.Blobs.ListBlobs(c.Request.Context(), q); err != nil {
			return err
		}
	}
	media := make([]gin.H, len(files))
	for i, f := range files {
		media[i] = gin.H{
			"id": f.ID, "filename": f.Name, "contentType": f.MIME, "length": f.Size, "uploadDate": iso(f.CreatedAt), "metadata": metadata(f),
		}
	}
	return ok(c, gin.H{"ok": true, "media": media})
}

// metadata is what is known of a file, numbers and flags as such.
func metadata(f store.BlobInfo) gin.H {
	out := gin.H{"accountId": f.Account}
	for k, v := range f.Meta {
		switch k {
		case "fileLength", "width", "height", "seconds":
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				out[k] = n
				continue
			}
		case "ptt", "gifPlayback":
			out[k] = v == "true"
			continue
		}
		out[k] = v
	}
	return out
}

func (s *Server) getMedia(c *gin.Context) error { return s.serveFile(c, c.Param("id"), errMedia) }

func (s *Server) getMessageMedia(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	m, err := s.deps.Messages.Message(c.Request.Context(), id, c.Param("messageId"))
	if err != nil {
		return or(err, store.ErrNotFound, errMessage)
	}
	if m.Message == nil || m.Message.Media == nil {
		return errNoMedia
	}
	if media := m.Message.Media; media.ID == "" {
		if media.Status == "failed" { // nobody will: the service before the hub failed to
			return errNoMedia
		}
		return errNotFetched
	}
	return s.serveFile(c, m.Message.Media.ID, errNoMedia)
}

// serveFile answers with a file's bytes, or the range that is asked for. What it says it
// is comes from whoever sent it: a browser is told not to guess, and to run none of it.
func (s *Server) serveFile(c *gin.Context, id string, missing *failure) error {
	f, info, err := s.deps.Blobs.OpenBlob(c.Request.Context(), id)
	if err != nil {
		return or(err, store.ErrNotFound, missing)
	}
	defer f.Close()
	if !callerOf(c).sees(info.Account) {
		return missing
	}
	h := c.Writer.Header()
	h.Set("Content-Type", contentType(info.MIME))
	h.Set("Content-Disposition", disposition(info.Name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if info.SHA256 != "" {
		h.Set("ETag", `"`+info.SHA256+`"`)
	}
	http.ServeContent(c.Writer, c.Request, "", info.CreatedAt, io.ReadSeeker(f))
	return nil
}

// contentType is the file's type if it is one.
func contentType(of string) string {
	t, params, err := mime.ParseMediaType(of)
	if err != nil || !strings.Contains(t, "/") {
		return "application/octet-stream"
	}
	return mime.FormatMediaType(t, params)
}

func disposition(name string) string {
	if d := mime.FormatMediaType("inline", map[string]string{"filename": name}); name != "" && d != "" {
		// The contract has quotes around every name.
		if plain := "inline; filename=" + name; d == plain {
			return `inline; filename="` + name + `"`
		}
		return d
	}
	return "inline"
}
