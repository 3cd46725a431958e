package simulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"strconv"
	"strings"
	"sync"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ErrPicture says that bytes are not a JPEG that can be a profile picture.
var ErrPicture = errors.New("not a JPEG picture")

// Where pictures are fetched from, and how large a preview and a picture may be.
const (
	picturePath  = "/v/t61.24694-24/"
	previewSide  = 96
	pictureLimit = 8 << 20
)

// picture is one that somebody or a group shows.
type picture struct{ image, preview []byte }

// pictures are all that are shown, by id; on disk under pi/ID, and pj/ID for the preview.
type pictures struct {
	mu   sync.RWMutex
	byID map[string]*picture
}

// addPicture takes a JPEG, makes the preview, and returns the id under which it can be
// looked up once b is committed.
func (s *Server) addPicture(b *batch, raw []byte) (string, error) {
	preview, err := previewOf(raw)
	if err != nil {
		return "", err
	}
	id := strconv.FormatInt(s.opts.Clock().UnixMilli(), 10) + strconv.FormatUint(s.ids.Add(1), 10)
	b.put("pi/"+id, raw)
	b.put("pj/"+id, preview)
	s.pictures.mu.Lock()
	defer s.pictures.mu.Unlock()
	if s.pictures.byID == nil {
		s.pictures.byID = map[string]*picture{}
	}
	s.pictures.byID[id] = &picture{raw, preview}
	return id, nil
}

// CheckPicture says whether bytes can be a picture of a phone or a group; the error is
// [ErrPicture].
func CheckPicture(raw []byte) error {
	_, err := previewOf(raw)
	return err
}

// dropPicture forgets a picture that is no longer shown; an empty id is none.
func (s *Server) dropPicture(b *batch, id string) {
	if id == "" {
		return
	}
	b.del("pi/" + id)
	b.del("pj/" + id)
	s.pictures.mu.Lock()
	defer s.pictures.mu.Unlock()
	delete(s.pictures.byID, id)
}

func (s *Server) loadPicture(parts []string, value []byte) error {
	if s.pictures.byID == nil {
		s.pictures.byID = map[string]*picture{}
	}
	p := s.pictures.byID[parts[1]]
	if p == nil {
		p = new(picture)
		s.pictures.byID[parts[1]] = p
	}
	if parts[0] == "pi" {
		p.image = value
	} else {
		p.preview = value
	}
	return nil
}

func (s *Server) picture(id string) *picture {
	s.pictures.mu.RLock()
	defer s.pictures.mu.RUnlock()
	return s.pictures.byID[id]
}

// pictureNode answers a lookup of a picture (whatsmeow's user.go, GetProfilePictureInfo):
// its address, or that it is the one which the client has.
func (s *Server) pictureNode(id string, asked *waBinary.Node) ([]waBinary.Node, error) {
	p := s.picture(id)
	if p == nil {
		return nil, errNotFound
	}
	if text(asked, "id") == id {
		return []waBinary.Node{{Tag: "picture", Attrs: waBinary.Attrs{"id": id, "status": "304"}}}, nil
	}
	kind, data := "image", p.image
	if text(asked, "type") == "preview" {
		kind, data = "preview", p.preview
	}
	sum := sha256.Sum256(data)
	path := picturePath + id + "_n.jpg?type=" + kind
	return []waBinary.Node{{Tag: "picture", Attrs: waBinary.Attrs{
		"id": id, "type": kind, "url": "https://pps.whatsapp.net" + path, "direct_path": path,
		"hash": base64.StdEncoding.EncodeToString(sum[:]),
	}}}, nil
}

// servePicture is the handler of what pictureNode points at.
func (s *Server) servePicture(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutSuffix(r.PathValue("name"), "_n.jpg")
	p := s.picture(id)
	if !ok || p == nil {
		http.NotFound(w, r)
		return
	}
	data := p.image
	if r.URL.Query().Get("type") == "preview" {
		data = p.preview
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // the client is gone if this fails
}

// handlePicture looks up somebody's picture, or sets the account's own.
func (s *Server) handlePicture(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	target, named := iq.Attrs["target"].(types.JID)
	if target.Server == types.GroupServer {
		return s.handleGroupPicture(c, target, iq)
	}
	asked, hasPicture := iq.GetOptionalChildByTag("picture")
	if iq.Attrs["type"] == "set" {
		if a := s.findAccount(target); named && a != c.dev.acct {
			return nil, errNotAcceptable
		}
		raw, _ := asked.Content.([]byte)
		if hasPicture && len(raw) == 0 {
			return nil, errBadRequest
		}
		id, err := c.dev.acct.setPicture(raw, c.dev)
		if errors.Is(err, ErrPicture) {
			return nil, errNotAcceptable
		}
		if err != nil || raw == nil {
			return nil, err
		}
		return []waBinary.Node{{Tag: "picture", Attrs: waBinary.Attrs{"id": id}}}, nil
	}
	a := s.findAccount(target)
	if !named || !hasPicture {
		return nil, errBadRequest
	}
	if a == nil {
		return nil, errNotFound
	}
	if !a.shows("profile", c.dev.acct) {
		return nil, errNotAuthorized
	}
	return s.pictureNode(a.look().PictureID, &asked)
}

// setPicture shows a JPEG, or nothing, and tells who has to know; by is the companion
// that did it, nil for the phone.
func (a *account) setPicture(raw []byte, by *Device) (id string, err error) {
	err = a.change(func(rec *profileRecord, o *outgoing) error {
		attrs := waBinary.Attrs{"jid": a.pn(), "author": a.pn()}
		change := waBinary.Node{Tag: "delete", Attrs: attrs}
		if len(raw) > 0 {
			if id, err = a.s.addPicture(o.b, raw); err != nil {
				return err
			}
			attrs["id"], change.Tag = id, "set"
		}
		a.s.dropPicture(o.b, rec.PictureID)
		rec.PictureID = id
		o.tellOwn(a, by, waBinary.Node{Tag: "picture"})
		if rec.privacy("profile") != "none" {
			o.tellFriends(a, rec.Blocked, "picture", change)
		}
		return nil
	})
	return id, err
}

// SetPicture shows a JPEG, of at most 8 MiB, as the phone's profile picture and returns
// its id.
func (p *Phone) SetPicture(ctx context.Context, raw []byte) (id string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	if len(raw) == 0 {
		return "", ErrPicture
	}
	return p.acct.setPicture(raw, nil)
}

// RemovePicture takes the phone's profile picture away.
func (p *Phone) RemovePicture(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := p.acct.setPicture(nil, nil)
	return err
}

// Picture returns the profile picture, a JPEG, and its id; nothing when there is none.
func (p *Phone) Picture() (id string, raw []byte) {
	id = p.acct.look().PictureID
	if shown := p.acct.s.picture(id); shown != nil {
		raw = shown.image
	}
	return id, raw
}

// previewOf makes the small square that lists show: the middle of the picture, scaled
// down by averaging.
func previewOf(raw []byte) ([]byte, error) {
	if len(raw) > pictureLimit {
		return nil, fmt.Errorf("%d bytes: %w", len(raw), ErrPicture)
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(raw))
	if err != nil || config.Width*config.Height > 64<<20 {
		return nil, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	full, err := jpeg.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	bounds := full.Bounds()
	side := min(bounds.Dx(), bounds.Dy())
	left, top := bounds.Min.X+(bounds.Dx()-side)/2, bounds.Min.Y+(bounds.Dy()-side)/2
	small := image.NewRGBA(image.Rect(0, 0, previewSide, previewSide))
	for y := range previewSide {
		for x := range previewSide {
			area := image.Rect(left+x*side/previewSide, top+y*side/previewSide, left+(x+1)*side/previewSide, top+(y+1)*side/previewSide)
			small.Set(x, y, average(full, area))
		}
	}
	var out bytes.Buffer
	err = jpeg.Encode(&out, small, &jpeg.Options{Quality: 80})
	return out.Bytes(), err
}

// average is the mean colour of an area; of its first pixel where the area is empty,
// as it is when a small picture is scaled up.
func average(from image.Image, area image.Rectangle) color.Color {
	area.Max.X, area.Max.Y = max(area.Max.X, area.Min.X+1), max(area.Max.Y, area.Min.Y+1)
	var r, g, b, n uint64
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			red, green, blue, _ := from.At(x, y).RGBA()
			r, g, b, n = r+uint64(red), g+uint64(green), b+uint64(blue), n+1
		}
	}
	return color.RGBA64{R: uint16(r / n), G: uint16(g / n), B: uint16(b / n), A: 0xffff}
}
