package simulator_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// photo is a JPEG, dark on the left and bright on the right.
func photo(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for x := width / 2; x < width; x++ {
		for y := range height {
			img.SetGray(x, y, color.Gray{Y: 250})
		}
	}
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, img, nil))
	return out.Bytes()
}

func fetchURL(t testing.TB, s *simulator.Server, url string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	h := s.HTTPClient()
	defer h.CloseIdleConnections()
	resp, err := h.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, body
}

// acquainted is a client whose owner has exchanged messages with another phone.
func acquainted(t testing.TB, s *simulator.Server) (c *client, d *simulator.Device, owner, other *simulator.Phone) {
	t.Helper()
	owner, other = simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d = paired(t, s, owner)
	ctx := simtest.Within(t, 30*time.Second)
	_, err := other.SendText(ctx, "15550001", "hello")
	require.NoError(t, err)
	c.waitTexts(1)
	require.NoError(t, d.WaitDrained(ctx))
	return c, d, owner, other
}

func TestAClientLooksUpWhoIsOnWhatsAppAndWhatTheyShow(t *testing.T) {
	long(t)
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	c, d, _, other := acquainted(t, s)
	ctx := simtest.Within(t, 60*time.Second)
	require.NoError(t, other.SetAbout(ctx, "At the café"))
	about := waitEvent(c, simtest.AnyOf[*events.UserAbout])
	require.Equal(t, jidOf("15550002"), about.JID)
	require.Equal(t, "At the café", about.Status)
	id, err := other.SetPicture(ctx, photo(t, 640, 480))
	require.NoError(t, err)
	changed := waitEvent(c, simtest.AnyOf[*events.Picture])
	require.Equal(t, id, changed.PictureID)
	require.Equal(t, jidOf("15550002"), changed.JID)
	require.NoError(t, other.SetBusiness(ctx, &simulator.Business{
		Name: "Bea's Shop", Address: "1 Main Street", Email: "bea@example.com", TimeZone: "Europe/Berlin",
		Categories: map[string]string{"1": "Bakery"}, Options: map[string]string{"cart_enabled": "true"},
		Hours: []simulator.Hours{{Day: "mon", Mode: "specific_hours", Open: 480, Close: 1080}},
	}))

	check := func(c *client) {
		on, err := c.IsOnWhatsApp(ctx, []string{"+15550002", "+15559999"})
		require.NoError(t, err)
		require.Len(t, on, 2)
		require.True(t, on[0].IsIn)
		require.Equal(t, jidOf("15550002"), on[0].JID)
		require.Equal(t, "Bea's Shop", on[0].VerifiedName.Details.GetVerifiedName())
		require.False(t, on[1].IsIn)
		info, err := c.GetUserInfo(ctx, []types.JID{jidOf("15550002"), jidOf("15550001")})
		require.NoError(t, err)
		bea := info[jidOf("15550002")]
		require.Equal(t, "At the café", bea.Status)
		require.Equal(t, id, bea.PictureID)
		require.Equal(t, other.LID(), bea.LID.User)
		contact, err := c.Store.Contacts.GetContact(ctx, jidOf("15550002"))
		require.NoError(t, err)
		require.Equal(t, "Bea's Shop", contact.BusinessName)
		require.Len(t, bea.Devices, 1)
		require.Len(t, info[jidOf("15550001")].Devices, 2)
		business, err := c.GetBusinessProfile(ctx, jidOf("15550002"))
		require.NoError(t, err)
		require.Equal(t, "1 Main Street", business.Address)
		require.Equal(t, []types.Category{{ID: "1", Name: "Bakery"}}, business.Categories)
		require.Equal(t, "true", business.ProfileOptions["cart_enabled"])
		require.Equal(t, []types.BusinessHoursConfig{{DayOfWeek: "mon", Mode: "specific_hours", OpenTime: "480", CloseTime: "1080"}}, business.BusinessHours)
		_, err = c.GetBusinessProfile(ctx, jidOf("15550001"))
		require.ErrorIs(t, err, whatsmeow.ErrIQNotFound)
	}
	check(c)
	_, err = other.SendText(ctx, "15550001", "buy bread")
	require.NoError(t, err)
	named := waitEvent(c, func(m *events.Message) bool { return m.Message.GetConversation() == "buy bread" })
	require.Equal(t, "Bea's Shop", named.Info.VerifiedName.Details.GetVerifiedName())
	require.NoError(t, d.WaitDrained(ctx))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	require.NoError(t, s.Close())

	c.s = newServer(t, dir)
	c.renew(true)
	require.NoError(t, c.Connect())
	waitEvent(c, simtest.AnyOf[*events.Connected])
	check(c)
	shop, _ := paired(t, c.s.(*simulator.Server), c.s.(*simulator.Server).Phone("15550002"))
	linked := waitEvent(shop, simtest.AnyOf[*events.PairSuccess])
	require.Equal(t, "Bea's Shop", linked.BusinessName)
	require.Equal(t, "smba", linked.Platform)
}

func TestProfilePicturesAreServedInFullAsPreviewAndToWhomTheyAreShown(t *testing.T) {
	long(t)
	s := newServer(t, "")
	c, _, owner, other := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	jid := jidOf("15550002")
	_, err := c.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureNotSet)
	raw := photo(t, 640, 480)
	id, err := other.SetPicture(ctx, raw)
	require.NoError(t, err)
	full, err := c.GetProfilePictureInfo(ctx, jid, nil)
	require.NoError(t, err)
	require.Equal(t, id, full.ID)
	status, body := fetchURL(t, s, full.URL)
	require.Equal(t, 200, status)
	require.Equal(t, raw, body)
	preview, err := c.GetProfilePictureInfo(ctx, jid, &whatsmeow.GetProfilePictureParams{Preview: true})
	require.NoError(t, err)
	require.Equal(t, "preview", preview.Type)
	_, body = fetchURL(t, s, preview.URL)
	small, err := jpeg.Decode(bytes.NewReader(body))
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 96, 96), small.Bounds())
	left, _, _, _ := small.At(10, 48).RGBA()
	right, _, _, _ := small.At(85, 48).RGBA()
	require.Less(t, left, uint32(0x2000))
	require.Greater(t, right, uint32(0xd000))
	same, err := c.GetProfilePictureInfo(ctx, jid, &whatsmeow.GetProfilePictureParams{ExistingID: id})
	require.NoError(t, err)
	require.Nil(t, same, "it has not changed")

	require.NoError(t, other.SetPrivacy(ctx, "profile", "none"))
	_, err = c.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureUnauthorized)
	require.NoError(t, other.SetPrivacy(ctx, "profile", "contacts"))
	_, err = c.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureUnauthorized)
	require.NoError(t, other.SetContact(ctx, "15550001", "A Friend", "A"))
	_, err = c.GetProfilePictureInfo(ctx, jid, nil)
	require.NoError(t, err)
	require.NoError(t, other.Block(ctx, "15550001"))
	_, err = c.GetProfilePictureInfo(ctx, jid, nil)
	require.ErrorIs(t, err, whatsmeow.ErrProfilePictureUnauthorized)
	require.NoError(t, other.Unblock(ctx, "15550001"))
	require.NoError(t, other.RemovePicture(ctx))
	waitEvent(c, func(e *events.Picture) bool { return e.Remove })
	status, _ = fetchURL(t, s, full.URL)
	require.Equal(t, 404, status)

	own, err := c.SetGroupPhoto(ctx, types.EmptyJID, raw)
	require.NoError(t, err, "without a group it is one's own")
	got, shown := owner.Picture()
	require.Equal(t, own, got)
	require.Equal(t, raw, shown)
	_, err = c.SetGroupPhoto(ctx, types.EmptyJID, []byte("not a picture"))
	require.ErrorIs(t, err, whatsmeow.ErrInvalidImageFormat)
	_, err = other.SetPicture(ctx, []byte("neither"))
	require.ErrorIs(t, err, simulator.ErrPicture)
	_, err = owner.SetPicture(ctx, photo(t, 20, 30))
	require.NoError(t, err)
	waitEvent(c, func(e *events.Picture) bool { return e.JID == jidOf("15550001") })
}

func TestLinksLeadToWhomTheyBelong(t *testing.T) {
	s := newServer(t, "")
	c, _, _, other := acquainted(t, s)
	ctx := simtest.Within(t, 30*time.Second)
	code, err := other.ContactLink(ctx, false)
	require.NoError(t, err)
	target, err := c.ResolveContactQRLink(ctx, whatsmeow.ContactQRLinkPrefix+code)
	require.NoError(t, err)
	require.Equal(t, types.ContactQRLinkTarget{JID: jidOf("15550002"), Type: "contact", PushName: "Name of 15550002"}, *target)
	_, err = other.ContactLink(ctx, true)
	require.NoError(t, err)
	_, err = c.ResolveContactQRLink(ctx, code)
	require.ErrorIs(t, err, whatsmeow.ErrContactQRLinkNotFound)
	own, err := c.GetContactQRLink(ctx, false)
	require.NoError(t, err)
	again, err := c.GetContactQRLink(ctx, false)
	require.NoError(t, err)
	require.Equal(t, own, again)
	revoked, err := c.GetContactQRLink(ctx, true)
	require.NoError(t, err)
	require.NotEqual(t, own, revoked)

	_, err = other.MessageLink(ctx, "I want bread")
	require.ErrorIs(t, err, simulator.ErrNotBusiness)
	require.NoError(t, other.SetBusiness(ctx, &simulator.Business{Name: "Bea's Shop"}))
	code, err = other.MessageLink(ctx, "I want bread")
	require.NoError(t, err)
	shop, err := c.ResolveBusinessMessageLink(ctx, code)
	require.NoError(t, err)
	require.Equal(t, types.BusinessMessageLinkTarget{
		JID: jidOf("15550002"), PushName: "Name of 15550002", VerifiedName: "Bea's Shop", IsSigned: true,
		VerifiedLevel: "unknown", Message: "I want bread",
	}, *shop)
	_, err = c.ResolveBusinessMessageLink(ctx, "nothing")
	require.ErrorIs(t, err, whatsmeow.ErrBusinessMessageLinkNotFound)
}
