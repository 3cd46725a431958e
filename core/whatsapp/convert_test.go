package whatsapp

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/proto"

	"github.com/wildcathub/wildcat/sdk"
)

var update = flag.Bool("update", false, "write the golden files anew")

// phonebook is a directory of the one pair that it knows.
type phonebook struct {
	pn, lid types.JID
	err     error
}

func (p phonebook) GetPNForLID(_ context.Context, lid types.JID) (types.JID, error) {
	if lid == p.lid {
		return p.pn, p.err
	}
	return types.EmptyJID, p.err
}

func (p phonebook) GetLIDForPN(_ context.Context, pn types.JID) (types.JID, error) {
	if pn == p.pn {
		return p.lid, p.err
	}
	return types.EmptyJID, p.err
}

func jid(s string) types.JID {
	j, err := types.ParseJID(s)
	if err != nil {
		panic(err)
	}
	return j
}

var (
	mePN, meLID   = jid("15550001@s.whatsapp.net"), jid("700001@lid")
	bobPN, bobLID = jid("15550002@s.whatsapp.net"), jid("700002@lid")
	eve           = jid("15550003@s.whatsapp.net")
	group         = jid("120363041234567890@g.us")
)

func testConverter() converter {
	return converter{account: "a", own: names{mePN, meLID}, directory: phonebook{pn: bobPN, lid: bobLID}}
}

func from(src types.MessageSource, m *waE2E.Message) *events.Message {
	return (&events.Message{RawMessage: m, Info: types.MessageInfo{
		MessageSource: src, ID: "3EB0AA", PushName: "Bob", Timestamp: time.Unix(1_700_000_000, 0),
	}}).UnwrapRaw()
}

var (
	bobPNDevice = jid("15550002:7@s.whatsapp.net")
	fromBob     = types.MessageSource{Chat: bobPN, Sender: bobPNDevice, SenderAlt: bobLID}
	fromBobLID  = types.MessageSource{Chat: bobLID, Sender: jid("700002:7@lid")}
	byMe        = types.MessageSource{Chat: bobLID, Sender: jid("15550001:3@s.whatsapp.net"), IsFromMe: true, RecipientAlt: bobPN}
	inGroup     = types.MessageSource{Chat: group, Sender: jid("700002:7@lid"), SenderAlt: bobPN, IsGroup: true, AddressingMode: types.AddressingModeLID}
)

func TestConversion(t *testing.T) {
	key := func(me bool, id string, participant types.JID) *waCommon.MessageKey {
		k := &waCommon.MessageKey{RemoteJID: proto.String(bobPN.String()), FromMe: &me, ID: &id}
		if !participant.IsEmpty() {
			k.Participant = proto.String(participant.String())
		}
		return k
	}
	quote := &waE2E.ContextInfo{
		StanzaID: proto.String("3EB0BB"), Participant: proto.String(bobLID.String()),
		QuotedMessage: &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: proto.String("look")}},
		MentionedJID:  []string{bobLID.String(), "nonsense"}, IsForwarded: proto.Bool(true), Expiration: proto.Uint32(86400),
	}
	revoke, edit := waE2E.ProtocolMessage_REVOKE, waE2E.ProtocolMessage_MESSAGE_EDIT
	hash := []byte{1, 2, 3}
	for name, evt := range map[string]*events.Message{
		"text":         from(fromBob, &waE2E.Message{Conversation: proto.String("hello")}),
		"text_lid":     from(fromBobLID, &waE2E.Message{Conversation: proto.String("hello")}),
		"text_by_me":   from(byMe, &waE2E.Message{DeviceSentMessage: &waE2E.DeviceSentMessage{DestinationJID: proto.String(bobPN.String()), Message: &waE2E.Message{Conversation: proto.String("hi")}}}),
		"text_group":   from(inGroup, &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("@700002 hi"), ContextInfo: quote}}),
		"text_preview": from(fromBob, &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{Text: proto.String("https://x.y"), Title: proto.String("X")}}),
		"text_broken":  from(fromBob, &waE2E.Message{Conversation: proto.String("a\xffb")}),
		"image":        from(fromBob, &waE2E.Message{ImageMessage: &waE2E.ImageMessage{Caption: proto.String("sun"), Mimetype: proto.String("image/jpeg"), FileLength: proto.Uint64(1234), FileSHA256: hash, Width: proto.Uint32(640), Height: proto.Uint32(480), MediaKey: []byte("key")}}),
		"image_once": from(fromBob, &waE2E.Message{ViewOnceMessageV2: &waE2E.FutureProofMessage{Message: &waE2E.Message{
			ImageMessage: &waE2E.ImageMessage{Mimetype: proto.String("image/jpeg")},
		}}}),
		"video":    from(fromBob, &waE2E.Message{VideoMessage: &waE2E.VideoMessage{Caption: proto.String("film"), Mimetype: proto.String("video/mp4"), FileLength: proto.Uint64(99), Seconds: proto.Uint32(7)}}),
		"audio":    from(fromBob, &waE2E.Message{AudioMessage: &waE2E.AudioMessage{Mimetype: proto.String("audio/ogg; codecs=opus"), PTT: proto.Bool(true), Seconds: proto.Uint32(3), ContextInfo: quote}}),
		"document": from(fromBob, &waE2E.Message{DocumentWithCaptionMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{DocumentMessage: &waE2E.DocumentMessage{Caption: proto.String("read"), FileName: proto.String("a.pdf"), Mimetype: proto.String("application/pdf")}}}}),
		"sticker":  from(fromBob, &waE2E.Message{StickerMessage: &waE2E.StickerMessage{Mimetype: proto.String("image/webp"), Width: proto.Uint32(512), Height: proto.Uint32(512)}}),
		"location": from(fromBob, &waE2E.Message{LocationMessage: &waE2E.LocationMessage{DegreesLatitude: proto.Float64(52.5), DegreesLongitude: proto.Float64(13.4), Name: proto.String("Berlin"), Address: proto.String("Platz 1")}}),
		"live":     from(fromBob, &waE2E.Message{LiveLocationMessage: &waE2E.LiveLocationMessage{DegreesLatitude: proto.Float64(1), DegreesLongitude: proto.Float64(2)}}),
		"contact":  from(fromBob, &waE2E.Message{ContactMessage: &waE2E.ContactMessage{DisplayName: proto.String("Eve"), Vcard: proto.String("BEGIN:VCARD")}}),
		"contacts": from(fromBob, &waE2E.Message{ContactsArrayMessage: &waE2E.ContactsArrayMessage{Contacts: []*waE2E.ContactMessage{{DisplayName: proto.String("A")}, {DisplayName: proto.String("B")}}}}),
		"poll": from(fromBob, &waE2E.Message{PollCreationMessageV3: &waE2E.PollCreationMessage{
			Name: proto.String("Tea?"), Options: []*waE2E.PollCreationMessage_Option{{OptionName: proto.String("yes")}, {OptionName: proto.String("no")}}, SelectableOptionsCount: proto.Uint32(1),
		}}),
		"unknown":         from(fromBob, &waE2E.Message{GroupInviteMessage: &waE2E.GroupInviteMessage{GroupName: proto.String("G")}}),
		"vote":            from(fromBob, &waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{PollCreationMessageKey: key(true, "3EB0CC", types.EmptyJID)}}),
		"reaction":        from(fromBob, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Key: key(false, "3EB0CC", types.EmptyJID), Text: proto.String("👍")}}),
		"reaction_own":    from(fromBob, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Key: key(true, "3EB0CC", types.EmptyJID), Text: proto.String("")}}),
		"reaction_group":  from(inGroup, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Key: key(false, "3EB0CC", meLID), Text: proto.String("👍")}}),
		"reaction_others": from(inGroup, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Key: key(false, "3EB0CC", eve), Text: proto.String("👍")}}),
		"reaction_by_me":  from(byMe, &waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{Key: key(false, "3EB0CC", types.EmptyJID), Text: proto.String("👍")}}),
		"revoke":          from(fromBob, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{Type: &revoke, Key: key(true, "3EB0CC", types.EmptyJID)}}),
		"edit": from(fromBob, &waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{Message: &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
			Type: &edit, Key: key(true, "3EB0CC", types.EmptyJID), EditedMessage: &waE2E.Message{Conversation: proto.String("better")},
		}}}}),
		"newsletter_edit": func() *events.Message {
			e := from(types.MessageSource{Chat: jid("1203@newsletter"), Sender: jid("1203@newsletter")}, &waE2E.Message{Conversation: proto.String("news")})
			e.NewsletterMeta = &events.NewsletterMessageMeta{EditTS: time.Unix(1_700_000_100, 0)}
			return e
		}(),
		"broadcast": from(types.MessageSource{Chat: jid("1412@broadcast"), Sender: bobPNDevice, SenderAlt: bobLID, IsGroup: true}, &waE2E.Message{Conversation: proto.String("to all")}),
		"status":    from(types.MessageSource{Chat: types.StatusBroadcastJID, Sender: bobPNDevice, SenderAlt: bobLID, IsGroup: true}, &waE2E.Message{Conversation: proto.String("my day")}),
	} {
		t.Run(name, func(t *testing.T) {
			c := testConverter()
			ev, err := c.message(t.Context(), evt)
			require.NoError(t, err)
			require.NotNil(t, ev)
			golden(t, name, ev)
		})
	}
}

func golden(t *testing.T, name string, ev *sdk.Event) {
	t.Helper()
	got, err := json.MarshalIndent(ev, "", "  ")
	require.NoError(t, err)
	path := filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update and look at what it wrote")
	if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
		t.Error(d)
	}
}

func TestWhatOnlyServesTheProtocolIsNoEvent(t *testing.T) {
	share, settings := waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE, waE2E.ProtocolMessage_EPHEMERAL_SETTING
	for name, m := range map[string]*waE2E.Message{
		"nothing":       {},
		"context":       {MessageContextInfo: &waE2E.MessageContextInfo{MessageSecret: make([]byte, 32)}},
		"sender key":    {SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{GroupID: proto.String("g")}},
		"empty text":    {Conversation: proto.String(""), SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{}},
		"key share":     {ProtocolMessage: &waE2E.ProtocolMessage{Type: &share}},
		"chat settings": {ProtocolMessage: &waE2E.ProtocolMessage{Type: &settings}},
		"new protocol":  {ProtocolMessage: &waE2E.ProtocolMessage{}},
	} {
		c := testConverter()
		ev, err := c.message(t.Context(), from(inGroup, m))
		require.NoError(t, err, name)
		require.Nil(t, ev, name)
	}
	c := testConverter()
	for _, kind := range []types.ReceiptType{types.ReceiptTypePeerMsg, types.ReceiptTypeHistorySync} {
		ev, err := c.receipt(t.Context(), &events.Receipt{MessageSource: fromBob, Type: kind, MessageIDs: []string{"x"}})
		require.NoError(t, err)
		require.Nil(t, ev)
	}
	ev, err := c.undecryptable(t.Context(), &events.UndecryptableMessage{Info: types.MessageInfo{MessageSource: byMe, Category: "peer"}})
	require.NoError(t, err)
	require.Nil(t, ev)
}

func TestReceiptsAndPlaceholders(t *testing.T) {
	c := testConverter()
	for kind, word := range map[types.ReceiptType]string{
		types.ReceiptTypeDelivered: "delivered", types.ReceiptTypeRead: "read", types.ReceiptTypePlayed: "played",
		types.ReceiptTypeRetry: "retry", types.ReceiptTypeSender: "sender", types.ReceiptTypeInactive: "inactive",
	} {
		ev, err := c.receipt(t.Context(), &events.Receipt{
			MessageSource: fromBobLID, Type: kind, MessageIDs: []string{"1", "2"}, Timestamp: time.Unix(1_700_000_000, 0),
		})
		require.NoError(t, err)
		require.Equal(t, &sdk.Event{
			Type: sdk.TypeReceipt, Account: "a", Chat: bobPN.String(), ChatAlt: bobLID.String(), WAID: "1",
			Time:    time.Unix(1_700_000_000, 0).UTC(),
			Receipt: &sdk.Receipt{Kind: word, MessageIDs: []string{"1", "2"}, From: bobPN.String(), Device: 7},
		}, ev)
	}
	ev, err := c.undecryptable(t.Context(), &events.UndecryptableMessage{
		Info: from(inGroup, nil).Info, UnavailableType: events.UnavailableTypeViewOnce,
	})
	require.NoError(t, err)
	golden(t, "undecryptable", ev)
}

func TestAFailingDirectoryIsAnErrorAndNotALostName(t *testing.T) {
	c := testConverter()
	c.directory = phonebook{err: errors.New("disk full")}
	_, err := c.message(t.Context(), from(fromBobLID, &waE2E.Message{Conversation: proto.String("x")}))
	require.ErrorContains(t, err, "disk full")
}

func TestRawKeepsWhatIsNoJSON(t *testing.T) {
	var out map[string]any
	require.NoError(t, json.Unmarshal(raw(&waE2E.Message{Conversation: proto.String("a\xffb")}), &out))
	require.Contains(t, out, "protobuf")
	require.Nil(t, raw((*waE2E.Message)(nil)))
}
