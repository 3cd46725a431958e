package legacy

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	states "github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/legacy/legacytest"
	"github.com/wildcathub/wildcat/sdk"
)

func TestAWordForTheStateIsTheHubsOwn(t *testing.T) {
	require.Equal(t, []string{states.StateCreated, states.StateLoggedOut, states.ReasonImported}, []string{stateCreated, stateLoggedOut, reasonImported})
	require.NotEmpty(t, states.Text(reasonImported))
}

func TestNumbersAreReadInAllTheirForms(t *testing.T) {
	dec, err := bson.ParseDecimal128("1709287440")
	require.NoError(t, err)
	for _, v := range []any{
		int32(1709287440), int64(1709287440), 1709287440.0, "1709287440", "1.70928744e9", dec,
		bson.D{{Key: "low", Value: int32(1709287440)}, {Key: "high", Value: int32(0)}, {Key: "unsigned", Value: true}},
		bson.D{{Key: "low", Value: 1709287440.0}, {Key: "high", Value: 0.0}, {Key: "unsigned", Value: true}},
		bson.D{{Key: "$numberLong", Value: "1709287440"}},
	} {
		n, ok := integer(v)
		require.True(t, ok, "%T %v", v, v)
		require.EqualValues(t, 1709287440, n, "%T %v", v, v)
		require.Equal(t, time.Unix(1709287440, 0).UTC(), timeOf(v), "%T %v", v, v)
	}
	n, ok := integer(bson.D{{Key: "low", Value: int32(-1)}, {Key: "high", Value: int32(1)}, {Key: "unsigned", Value: false}})
	require.True(t, ok)
	require.EqualValues(t, 1<<33-1, n)
	for _, v := range []any{nil, "", "many", math.NaN(), math.Inf(1), true, bson.D{}, bson.A{}, bson.D{{Key: "low", Value: "x"}}} {
		_, ok := integer(v)
		require.False(t, ok, "%T %v", v, v)
		require.True(t, timeOf(v).IsZero(), "%T %v", v, v)
	}
}

func TestTimesAreReadInAllTheirForms(t *testing.T) {
	want := time.Date(2024, 3, 1, 10, 4, 0, 0, time.UTC)
	for _, v := range []any{
		bson.NewDateTimeFromTime(want), "2024-03-01T10:04:00Z", "2024-03-01T11:04:00.000+01:00", want.Unix(), want.UnixMilli(),
		float64(want.UnixMilli()),
		bson.D{{Key: "$date", Value: "2024-03-01T10:04:00Z"}},
		bson.Timestamp{T: uint32(want.Unix())},
	} {
		require.Equal(t, want, timeOf(v), "%T %v", v, v)
	}
	for _, v := range []any{int32(0), int64(-5), int32(12345), int64(math.MaxInt64), "tomorrow", bson.DateTime(math.MinInt64)} {
		require.True(t, timeOf(v).IsZero(), "%T %v", v, v)
	}
}

func TestBytesAreReadInAllTheirForms(t *testing.T) {
	want := []byte{1, 2, 255}
	list := bson.A{int32(1), 2.0, int64(255)}
	for _, v := range []any{
		bson.Binary{Data: want},
		"AQL/", "AQL_", list,
		bson.D{{Key: "type", Value: "Buffer"}, {Key: "data", Value: list}},
		bson.D{{Key: "type", Value: "Buffer"}, {Key: "data", Value: "AQL/"}},
		bson.D{{Key: "data", Value: bson.Binary{Data: want}}},
		bson.D{{Key: "0", Value: int32(1)}, {Key: "2", Value: int32(255)}, {Key: "1", Value: int32(2)}},
		bson.D{{Key: "_bsontype", Value: "Binary"}, {Key: "buffer", Value: "AQL/"}, {Key: "sub_type", Value: int32(0)}},
	} {
		got, ok := bytesOf(v, 0)
		require.True(t, ok, "%T %v", v, v)
		require.Equal(t, want, got, "%T %v", v, v)
	}
	for _, v := range []any{nil, "!", bson.A{int32(256)}, bson.D{}, bson.D{{Key: "7", Value: int32(1)}}, bson.D{{Key: "data", Value: bson.D{}}}} {
		_, ok := bytesOf(v, 0)
		require.False(t, ok, "%T %v", v, v)
	}
}

func TestAProtobufIsRebuiltWhateverItsObjectLooksLike(t *testing.T) {
	want := &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
		Text: proto.String("hi"), Font: waE2E.ExtendedTextMessage_FB_SCRIPT.Enum(), JPEGThumbnail: []byte{1, 2, 255}, BackgroundArgb: proto.Uint32(7),
		ContextInfo: &waE2E.ContextInfo{
			StanzaID: proto.String("A"), MentionedJID: []string{"1@s.whatsapp.net", "2@s.whatsapp.net"}, IsForwarded: proto.Bool(true),
			QuotedMessage: &waE2E.Message{Conversation: proto.String("q")}, EphemeralSettingTimestamp: proto.Int64(1 << 40),
		},
	}}
	for name, doc := range map[string]string{
		"as Baileys writes it": `{"extendedTextMessage":{"text":"hi","font":2,"jpegThumbnail":{"type":"Buffer","data":[1,2,255]},"backgroundArgb":7,
			"contextInfo":{"stanzaId":"A","mentionedJid":["1@s.whatsapp.net","2@s.whatsapp.net"],"isForwarded":true,
			"quotedMessage":{"conversation":"q"},"ephemeralSettingTimestamp":{"low":0,"high":256,"unsigned":false}}}}`,
		"with what does not belong": `{"nothing":1,"extendedTextMessage":{"text":"hi","font":"FB_SCRIPT","jpegThumbnail":"AQL/","backgroundArgb":"7",
			"textArgb":-1,"previewType":"x","doNotPlayInline":"yes","thumbnailHeight":{},
			"contextInfo":{"stanzaID":"A","mentionedJID":["1@s.whatsapp.net",{},"2@s.whatsapp.net"],"isForwarded":true,"quotedAd":5,
			"quotedMessage":{"conversation":"q"},"ephemeralSettingTimestamp":"1099511627776","expiration":5000000000}},"conversation":null}`,
	} {
		var d bson.D
		require.NoError(t, bson.UnmarshalExtJSON([]byte(doc), false, &d), name)
		got := content(fields(d))
		require.True(t, proto.Equal(want, got), "%s: %s", name, protojson.Format(got))
	}
	require.Nil(t, content(nil))
	require.Nil(t, content(fields{{Key: "nothing", Value: "x"}}))
}

func TestQuotesWithinQuotesEnd(t *testing.T) {
	d := bson.D{{Key: "conversation", Value: "deep"}}
	for range 1000 {
		d = bson.D{{Key: "extendedTextMessage", Value: bson.D{{Key: "contextInfo", Value: bson.D{{Key: "quotedMessage", Value: d}}}}}}
	}
	require.NotNil(t, content(fields(d)))
}

func TestAccountsGetIDsThatAHubTakes(t *testing.T) {
	long := strings.Repeat("ä", 90)
	names := Names{Made: map[string]string{}, Taken: func(id string) bool { return id == "a_b_2" || id == "plain-1" }}
	got := names.of([]string{"a.b", "a b", long, "plain-1", "a_b", "a.b"})
	require.Equal(t, map[string]string{
		"a_b": "a_b", "plain-1": "plain-1", // an account of the target that has the same id is the same
		"a.b": "a_b_3", "a b": "a_b_4", long: strings.Repeat("_", 58),
	}, got)
	for _, id := range got {
		require.True(t, config.AccountID(id), id)
	}
	delete(got, "a_b")
	delete(got, "plain-1")
	require.Equal(t, got, names.Made)
}

func TestAccountsKeepTheIDsThatTheyWereGiven(t *testing.T) {
	names := Names{Made: map[string]string{"x.y": "x_y"}, Taken: func(id string) bool { return id == "x_y" }}
	require.Equal(t, map[string]string{"x y": "x_y_2", "x.y": "x_y", "x_y": "x_y_3"}, names.of([]string{"x y", "x_y", "x.y"}))
	require.Equal(t, map[string]string{"x_y": "x_y_3"}, names.of([]string{"x_y"}), "also once the others are gone")
}

func TestAMediaMessageWithoutAProtobufIsWhatItsDocumentSays(t *testing.T) {
	names := map[string]string{"a": "a"}
	base := bson.D{{Key: "accountId", Value: "a"}, {Key: "messageId", Value: "M"}, {Key: "chatId", Value: legacytest.Anna}, {Key: "timestamp", Value: int32(1709287440)}}
	for _, c := range []struct {
		more bson.D
		kind sdk.Kind
		text string
	}{
		{bson.D{{Key: "type", Value: "image"}, {Key: "hasMedia", Value: true}, {Key: "caption", Value: "c"}}, sdk.KindImage, "c"},
		{bson.D{{Key: "type", Value: "text"}, {Key: "hasMedia", Value: true}, {Key: "mediaType", Value: "video"}}, sdk.KindVideo, ""},
		{bson.D{{Key: "type", Value: "text"}, {Key: "hasMedia", Value: true}, {Key: "mediaMimetype", Value: "application/pdf"}}, sdk.KindDocument, ""},
		{bson.D{{Key: "type", Value: "text"}, {Key: "hasMedia", Value: "true"}}, sdk.KindUnknown, ""},
		{bson.D{{Key: "type", Value: "buttonsReply"}, {Key: "text", Value: "Yes"}}, "buttonsReply", "Yes"},
		{bson.D{{Key: "type", Value: "no word <at> all"}}, sdk.KindText, ""},
		{nil, sdk.KindText, ""},
	} {
		m, skip := message(fields(append(append(bson.D{}, base...), c.more...)), names)
		require.Nil(t, skip, "%v", c.more)
		require.Equal(t, c.kind, m.Event.Message.Kind, "%v", c.more)
		require.Equal(t, c.text, m.Event.Message.Text, "%v", c.more)
	}
}

// value makes whatever a document can hold.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 12
		if depth == 0 {
			kinds = 10
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return nil
		case 1:
			return rapid.String().Draw(t, "text")
		case 2:
			return rapid.Int32().Draw(t, "int")
		case 3:
			return rapid.Int64().Draw(t, "long")
		case 4:
			return rapid.Float64().Draw(t, "double")
		case 5:
			return rapid.Bool().Draw(t, "flag")
		case 6:
			return bson.Binary{Data: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "binary")}
		case 7:
			return bson.DateTime(rapid.Int64().Draw(t, "date"))
		case 8:
			return rapid.SampledFrom([]any{bson.NewObjectID(), bson.MinKey{}, bson.Regex{}, bson.NewDecimal128(1<<63, 7), bson.Null{}, bson.Undefined{}, bson.Symbol("s")}).Draw(t, "odd")
		case 9:
			return rapid.SampledFrom([]any{legacytest.Anna, legacytest.Group, "status@broadcast", "1:2@lid", "@g.us", "a.b.c@x", "12@broadcast", "acc", "image", "1709287440"}).Draw(t, "word")
		case 10:
			return bson.A(rapid.SliceOfN(value(depth-1), 0, 4).Draw(t, "list"))
		}
		return document(depth-1).Draw(t, "document")
	})
}

// document has field names that mean something.
func document(depth int) *rapid.Generator[bson.D] {
	return rapid.Custom(func(t *rapid.T) bson.D {
		var d bson.D
		for range rapid.IntRange(0, 9).Draw(t, "fields") {
			name := rapid.SampledFrom([]string{
				"_id", "accountId", "messageId", "chatId", "from", "fromMe", "timestamp", "type", "text", "caption", "hasMedia", "mediaType",
				"mediaGridFsId", "mediaSize", "mediaMimetype", "mediaWidth", "quotedMessage", "mentions", "rawMessage", "createdAt", "key", "id",
				"remoteJid", "participant", "message", "messageTimestamp", "pushName", "conversation", "imageMessage", "extendedTextMessage",
				"contextInfo", "stanzaId", "quotedMessage", "reactionMessage", "protocolMessage", "viewOnceMessage", "pollCreationMessage", "options",
				"editedMessage", "contactsArrayMessage", "contacts", "locationMessage", "low", "high", "data", "url", "metadata", "length", "status", "name",
			}).Draw(t, "name")
			d = append(d, bson.E{Key: name, Value: value(depth).Draw(t, "value")})
		}
		return d
	})
}

// Whatever a document holds, it becomes a record that can be stored, or is left out for a reason.
func TestNoDocumentBreaksTheConversion(t *testing.T) {
	names := map[string]string{"acc": "acc", "": "acc"}
	rapid.Check(t, func(t *rapid.T) {
		doc := fields(document(5).Draw(t, "doc"))
		checkConverted(t, doc, names)
		free := Names{Made: map[string]string{}, Taken: func(string) bool { return false }}
		if a, skip := account(doc, free.of([]string{doc.text("_id", "id")})); skip == nil {
			require.True(t, config.AccountID(a.Account.ID))
		}
		if f, skip := file(doc, names); skip == nil {
			require.NotEmpty(t, f.Info.ID)
		}
		if w, skip := webhook(doc); skip == nil {
			require.NotEmpty(t, w.Webhook.URL)
		}
	})
}

func checkConverted(t require.TestingT, doc fields, names map[string]string) {
	m, skip := message(doc, names)
	if skip != nil {
		require.NotEmpty(t, skip.Reason)
		return
	}
	require.NotEmpty(t, m.Event.Chat)
	require.Equal(t, "acc", m.Event.Account)
	require.NotEmpty(t, m.Event.WAID)
	require.False(t, m.Event.Time.IsZero() || m.StoredAt.IsZero() || m.UpdatedAt.IsZero())
	if m.Event.Type == sdk.TypeMessage {
		require.NotEmpty(t, m.Event.Message.Kind)
		require.NotEmpty(t, m.Event.Message.From)
	}
	again, _ := message(doc, names)
	require.Equal(t, m, again)
}

func FuzzADocumentInJSON(f *testing.F) {
	for _, doc := range legacytest.Messages() {
		b, err := bson.MarshalExtJSON(doc, false, false)
		require.NoError(f, err)
		f.Add(b)
	}
	names := map[string]string{legacytest.Shop: "acc", "": "acc"}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d bson.D
		if bson.UnmarshalExtJSON(b, false, &d) == nil {
			checkConverted(t, fields(d), names)
		}
	})
}
