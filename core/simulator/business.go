package simulator

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mau.fi/libsignal/ecc"
	"google.golang.org/protobuf/proto"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waVnameCert"
	"go.mau.fi/whatsmeow/types"
)

// ErrNotBusiness says that only a business account can do this.
var ErrNotBusiness = errors.New("not a business account")

// Business is what a business account shows of itself.
type Business struct {
	// Name is the verified name.
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	Email   string `json:"email,omitempty"`
	// Categories are ids and the names that are shown for them.
	Categories map[string]string `json:"categories,omitempty"`
	// Options are what the profile offers, cart_enabled to "true" for instance.
	Options map[string]string `json:"options,omitempty"`
	// TimeZone is that of Hours, Europe/Berlin for instance.
	TimeZone string  `json:"time_zone,omitempty"`
	Hours    []Hours `json:"hours,omitempty"`
}

// Hours are when a business is open on a day of the week.
type Hours struct {
	Day string `json:"day"` // mon, tue, …
	// Mode is specific_hours, open_24h or appointment_only.
	Mode string `json:"mode"`
	// Open and Close are minutes after midnight.
	Open  int `json:"open"`
	Close int `json:"close"`
}

// SetBusiness makes the account a business, or an ordinary one again with nil.
func (p *Phone) SetBusiness(ctx context.Context, business *Business) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.change(func(rec *profileRecord, _ *outgoing) error {
		if rec.Business = business; business == nil {
			rec.Links = nil
		} else {
			kept := *business
			kept.Categories, kept.Options = maps.Clone(kept.Categories), maps.Clone(kept.Options)
			kept.Hours = slices.Clone(kept.Hours)
			rec.Business = &kept
		}
		return nil
	})
}

// Business returns what the account shows as a business, or nil.
func (p *Phone) Business() *Business { return p.acct.look().Business }

// certificate is the verified name as others get it. WhatsApp signs it; here the
// server's root key does, and no client checks.
func (s *Server) certificate(number, name string) ([]byte, error) {
	serial := uint64(0)
	for _, c := range number {
		serial = serial*10 + uint64(c-'0')
	}
	details, err := proto.Marshal(&waVnameCert.VerifiedNameCertificate_Details{
		Serial: &serial, Issuer: proto.String("smb:wa"), VerifiedName: &name,
	})
	if err != nil {
		return nil, fmt.Errorf("verified name: %w", err)
	}
	signature := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*s.id.root.Priv), details)
	out, err := proto.Marshal(&waVnameCert.VerifiedNameCertificate{Details: details, Signature: signature[:]})
	if err != nil {
		return nil, fmt.Errorf("verified name: %w", err)
	}
	return out, nil
}

// verifiedName is the node that names a business; false for any other account.
func (a *account) verifiedName() (waBinary.Node, bool) {
	business := a.look().Business
	if business == nil {
		return waBinary.Node{}, false
	}
	raw, err := a.s.certificate(a.number, business.Name)
	if err != nil {
		a.s.log.Error("make certificate", "phone", a.number, "err", err)
		return waBinary.Node{}, false
	}
	return waBinary.Node{Tag: "verified_name", Attrs: waBinary.Attrs{"v": "1"}, Content: raw}, true
}

// platform is what a new companion is told of its phone's app (whatsmeow's pair.go,
// handlePairSuccess).
func (a *account) platform() []waBinary.Node {
	business := a.look().Business
	if business == nil {
		return []waBinary.Node{{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}}}
	}
	return []waBinary.Node{
		{Tag: "platform", Attrs: waBinary.Attrs{"name": "smba"}},
		{Tag: "biz", Attrs: waBinary.Attrs{"name": business.Name}},
	}
}

// handleBusiness looks up a business profile (whatsmeow's user.go, GetBusinessProfile).
func (s *Server) handleBusiness(_ *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	asked := iq.GetChildByTag("business_profile", "profile")
	jid, ok := asked.Attrs["jid"].(types.JID)
	if !ok {
		return nil, errBadRequest
	}
	a := s.findAccount(jid)
	if a == nil {
		return nil, errNotFound
	}
	business := a.look().Business
	if business == nil {
		return nil, errNotFound
	}
	profile := waBinary.Node{Tag: "profile", Attrs: waBinary.Attrs{"jid": jid}, Content: business.nodes()}
	return []waBinary.Node{{Tag: "business_profile", Content: []waBinary.Node{profile}}}, nil
}

func (b *Business) nodes() []waBinary.Node {
	var hours, categories, options []waBinary.Node
	for _, h := range b.Hours {
		hours = append(hours, waBinary.Node{Tag: "business_hours_config", Attrs: waBinary.Attrs{
			"day_of_week": h.Day, "mode": h.Mode, "open_time": fmt.Sprint(h.Open), "close_time": fmt.Sprint(h.Close),
		}})
	}
	for _, id := range slices.Sorted(maps.Keys(b.Categories)) {
		categories = append(categories, waBinary.Node{
			Tag: "category", Attrs: waBinary.Attrs{"id": id}, Content: []byte(b.Categories[id]),
		})
	}
	for _, name := range slices.Sorted(maps.Keys(b.Options)) {
		options = append(options, waBinary.Node{Tag: name, Content: []byte(b.Options[name])})
	}
	return []waBinary.Node{
		{Tag: "address", Content: []byte(b.Address)},
		{Tag: "email", Content: []byte(b.Email)},
		{Tag: "business_hours", Attrs: waBinary.Attrs{"timezone": b.TimeZone}, Content: hours},
		{Tag: "categories", Content: categories},
		{Tag: "profile_options", Content: options},
	}
}

// handleLinks resolves contact and message links, and gives out the account's own
// (whatsmeow's user.go, ResolveContactQRLink, ResolveBusinessMessageLink, GetContactQRLink).
func (s *Server) handleLinks(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	asked := iq.GetChildByTag("qr")
	if iq.Attrs["type"] == "set" {
		if text(&asked, "type") != "contact" {
			return nil, errBadRequest
		}
		code, err := c.dev.acct.contactLink(text(&asked, "action") == "revoke")
		if err != nil {
			return nil, err
		}
		return []waBinary.Node{{Tag: "qr", Attrs: waBinary.Attrs{"code": code, "type": "contact"}}}, nil
	}
	code := text(&asked, "code")
	for _, p := range s.Phones() {
		rec := p.acct.look()
		attrs := waBinary.Attrs{"jid": p.acct.pn(), "notify": p.Name()}
		if message, ok := rec.Links[code]; ok {
			return []waBinary.Node{{Tag: "qr", Attrs: attrs, Content: []waBinary.Node{
				{Tag: "message", Content: []byte(message)},
				{Tag: "business", Attrs: waBinary.Attrs{
					"is_signed": "true", "verified_name": rec.Business.Name, "verified_level": "unknown",
				}},
			}}}, nil
		}
		if code != "" && rec.Contact == code {
			attrs["type"] = "contact"
			return []waBinary.Node{{Tag: "qr", Attrs: attrs}}, nil
		}
	}
	return nil, errNotFound
}

// contactLink returns the code of the account's contact link; the first call and revoke
// make a new one.
func (a *account) contactLink(revoke bool) (code string, err error) {
	err = a.change(func(rec *profileRecord, _ *outgoing) error {
		if rec.Contact == "" || revoke {
			rec.Contact = newLinkCode()
		}
		code = rec.Contact
		return nil
	})
	return code, err
}

// ContactLink returns the code of the phone's contact link, the last part of
// https://wa.me/qr/CODE. Revoke makes a new one, and the old one leads nowhere.
func (p *Phone) ContactLink(ctx context.Context, revoke bool) (code string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	return p.acct.contactLink(revoke)
}

// MessageLink makes a link that leads to a chat with this business with a text to send,
// and returns its code, the last part of https://wa.me/message/CODE.
func (p *Phone) MessageLink(ctx context.Context, message string) (code string, err error) {
	if err = ctx.Err(); err != nil {
		return "", err
	}
	code = newLinkCode()
	return code, p.acct.change(func(rec *profileRecord, _ *outgoing) error {
		if rec.Business == nil {
			return ErrNotBusiness
		}
		if rec.Links == nil {
			rec.Links = map[string]string{}
		}
		rec.Links[code] = message
		return nil
	})
}

func newLinkCode() string {
	var raw [10]byte
	_, _ = rand.Read(raw[:]) // never fails, by its contract
	return strings.TrimRight(base32.StdEncoding.EncodeToString(raw[:]), "=")
}
