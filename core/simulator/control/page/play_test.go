package page_test

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// hostile is a text that would run, were it not shown as text.
const hostile = `<script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">`

func TestAPersonPlaysThePhones(t *testing.T) {
	s := newServer(t)
	b := newBrowser(t, s.URL())

	// A phone is made, and a client linked to it.
	b.open("/sandbox/")
	b.sees("h1", "Play the phones")
	b.shot("empty")
	b.set(`.phones input[name=number]`, "+1 555-0001")
	b.fill(`.phones input[name=name]`, "Corner Shop", `.phones form button`)
	b.sees(".owner h1", "Corner Shop")
	c := simtest.NewClient(t, s)
	b.fill(`textarea[name=qr]`, c.ShowQR(), `form[action$="/scan"] button`)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Connected])
	b.sees(".device", "online")
	b.sees(".stanza", "success")
	b.shot("linked")

	// Another phone writes to it. Whatever it writes is text.
	ann := addPhone(t, s, "15550002", "Ann Abel")
	addPhone(t, s, "15550009", `<b onclick="window.pwned=1">Mallory`)
	b.sees("#phones", `<b onclick="window.pwned=1">Mallory`)
	b.open("/sandbox/ui/phones/15550002")
	b.fill(`form[action$="/open"] input[name=chat]`, "15550001", `form[action$="/open"] button`)
	b.fill(`.composer textarea`, hostile, `.composer button`)
	b.sees(".own .text", hostile)
	first := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Info.Sender.User == "15550002" })
	require.Equal(t, hostile, first.Message.GetConversation())
	b.sees(".ticks.delivered", "✓✓")
	require.NoError(t, c.MarkRead(t.Context(), []types.MessageID{first.Info.ID}, first.Info.Timestamp, first.Info.Chat, first.Info.Sender))
	b.sees(".ticks.read", "✓✓")

	// The client answers; the page shows it without being asked. It is answered, with a quote.
	answer := c.Say("15550002", "We are open until six.")
	b.sees(".message:not(.own) .text", "open until six")
	b.press(`#m-` + answer + ` .menu a`)
	b.sees(".composer .about", "open until six")
	b.fill(`.composer textarea`, "Thaks, see you", `.composer button`)
	b.sees(".own blockquote", "open until six")
	quoting := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetExtendedTextMessage().GetText() == "Thaks, see you" })
	require.Equal(t, answer, quoting.Message.GetExtendedTextMessage().GetContextInfo().GetStanzaID())
	b.press(`#m-` + quoting.Info.ID + ` a[href*="edit="]`)
	b.fill(`.composer textarea`, "Thanks, see you", `.composer button`)
	b.sees(".own .meta", "edited")
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.IsEdit })
	b.press(`#m-` + answer + ` button[value="👍"]`)
	b.sees(".emojis", "👍")
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetReactionMessage().GetText() == "👍" })

	// A poll of the client is voted in; a picture, a sound and a file are sent.
	poll, err := c.SendMessage(simtest.Within(t, 30*time.Second), types.NewJID("15550002", types.DefaultUserServer), c.BuildPollCreation("Tea or coffee?", []string{"Tea", "Coffee"}, 1))
	require.NoError(t, err)
	b.sees(".poll", "Coffee")
	b.press(`#m-` + poll.ID + ` .option[value="Coffee"]`)
	b.sees(".option.mine", "Coffee")
	vote := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetPollUpdateMessage() != nil })
	chosen, err := c.DecryptPollVote(t.Context(), vote)
	require.NoError(t, err)
	require.Len(t, chosen.GetSelectedOptions(), 1)
	dir := t.TempDir()
	for name, data := range map[string][]byte{"beach.png": picture(t), "tone.wav": tone(), "bill.pdf": []byte("%PDF-1.4 a bill")} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	b.attach(filepath.Join(dir, "beach.png"), "Look, the beach!")
	b.until(`(i => i && i.complete && i.naturalWidth > 0)(document.querySelector(".bubble img.image"))`)
	sent := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetImageMessage() != nil })
	plain, err := c.Download(t.Context(), sent.Message.GetImageMessage())
	require.NoError(t, err)
	require.True(t, bytes.Equal(picture(t), plain))
	b.attach(filepath.Join(dir, "tone.wav"), "")
	b.until(`(a => a && a.duration > 0.9)(document.querySelector(".bubble audio"))`)
	b.attach(filepath.Join(dir, "bill.pdf"), "")
	b.sees(".bubble .file", "bill.pdf")

	_, err = ann.SendLocation(t.Context(), "15550001", simulator.Location{Latitude: 52.52, Longitude: 13.405, Name: "Alexanderplatz"}, simulator.SendOptions{})
	require.NoError(t, err)
	b.sees(".place", "Alexanderplatz")
	typo, err := ann.SendText(t.Context(), "15550001", "not meant for you")
	require.NoError(t, err)
	b.sees(".text", "not meant for you")
	b.press(`#m-` + typo + ` form[action$="/revoke"] button`)
	b.sees(".gone .text", "deleted")
	b.gone(".text", "not meant for you")
	simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool {
		return m.Message.GetProtocolMessage().GetType() == waE2E.ProtocolMessage_REVOKE
	})
	b.shot("chat-end")
	b.run(`document.querySelector(".messages").scrollTop = 0`)
	b.shot("chat")
	b.run(`document.querySelector("#m-` + answer + ` .menu").open = true; document.querySelector(".stanza").open = true`)
	b.shot("menu")
	b.until("window.pwned === undefined")
}

func TestAPersonEntersAPairingCode(t *testing.T) {
	s := newServer(t)
	b := newBrowser(t, s.URL())
	addPhone(t, s, "15550001", "Corner Shop")
	c := simtest.NewClient(t, s)
	c.ShowQR() // whatsmeow asks for a code once it was offered one to scan
	code, err := c.PairPhone(simtest.Within(t, 30*time.Second), "15550001", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.NoError(t, err)
	b.open("/sandbox/ui/phones/15550001")
	b.fill(`input[name=code]`, "AAAA-AAAA", `form[action$="/enter-code"] button`)
	b.sees("[role=alert]", "code")
	b.shot("wrong-code")
	b.open("/sandbox/ui/phones/15550001")
	b.fill(`input[name=code]`, code, `form[action$="/enter-code"] button`)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Connected])
	b.sees(".device", "online")
	b.shot("code-entered")
}

func TestAPersonPlaysGroupsAndTroubles(t *testing.T) {
	s := newServer(t)
	shop := addPhone(t, s, "15550001", "Corner Shop")
	addPhone(t, s, "15550002", "Ann Abel")
	addPhone(t, s, "15550003", "Ben Brook")
	b := newBrowser(t, s.URL())
	c := simtest.NewClient(t, s)
	qr := c.ShowQR()
	_, err := shop.LinkQR(simtest.Within(t, 30*time.Second), qr)
	require.NoError(t, err)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Connected])

	// A group: made, written to, and managed.
	b.open("/sandbox/ui/phones/15550002")
	b.set(`form[action$="/groups"] input[name=subject]`, "Street party")
	b.fill(`form[action$="/groups"] textarea`, "15550001, 15550003", `form[action$="/groups"] button`)
	b.sees(".with h2", "Street party")
	b.fill(`.composer textarea`, "Who brings the chairs?", `.composer button`)
	m := simtest.WaitEvent(t, &c.Inbox, func(m *events.Message) bool { return m.Message.GetConversation() == "Who brings the chairs?" })
	_, err = c.SendMessage(simtest.Within(t, 30*time.Second), m.Info.Chat, &waE2E.Message{Conversation: proto.String("The shop has twelve.")})
	require.NoError(t, err)
	b.sees(".author", "Corner Shop")
	b.run(`document.querySelector(".panel").open = true`)
	b.shot("group")
	b.press(`.panel li:nth-child(3) button[value=promote]`)
	b.sees(".panel li", "admin")
	b.fill(`.panel input[name=subject]`, "Street party 2", `.panel button[value=subject]`)
	b.sees(".with h2", "Street party 2")

	// What is not possible is said.
	b.fill(`.panel .fields input[name=number]`, "19999999", `.panel button[value=add]`)
	b.sees(".problem", "no phone has this number")
	b.shot("problem")

	// The line breaks, a ban comes, and the client is unlinked.
	b.open("/sandbox/ui/phones/15550001")
	b.press(`.device button[value=cut]`)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Disconnected])
	b.sees(".device", "online")
	b.set(`.device select`, "login-402")
	b.press(`.device button[value=code]`)
	ban := simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.TemporaryBan])
	require.Equal(t, events.TempBanBlockedByUsers, ban.Code)
	b.sees(".stanza", "failure")
	b.shot("banned")
	b.press(`.device button[value=unlink]`)
	b.sees("#devices", "None.")

	// On a narrow screen a chat has the screen to itself.
	b.do(chromedp.EmulateViewport(400, 800))
	b.open("/sandbox/ui/phones/15550003?chat=" + m.Info.Chat.String())
	b.sees(".text", "chairs")
	b.shot("narrow")
	b.open("/sandbox/")
	b.shot("narrow-home")
	b.do(chromedp.EmulateViewport(1440, 900))
	b.shot("home")
}

// picture is a PNG of a beach, more or less.
func picture(t testing.TB) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 240, 150))
	for y := range 150 {
		for x := range 240 {
			c := color.RGBA{120, 180, uint8(200 + y/3), 255}
			if y > 95+x/20 {
				c = color.RGBA{225, 205, 150, 255}
			} else if y > 65 {
				c = color.RGBA{40, 110, uint8(150 + x/8), 255}
			}
			img.Set(x, y, c)
		}
	}
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, img))
	return out.Bytes()
}

// tone is a second of a WAV file.
func tone() []byte {
	head, err := base64.StdEncoding.DecodeString("UklGRmQfAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YUAfAAA=")
	if err != nil {
		panic(err) // a constant
	}
	for i := range 8000 {
		head = append(head, byte(128+60*math.Sin(float64(i)/3)))
	}
	return head
}
