package legacytest

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// d makes a document of keys and values in turn.
func d(pairs ...any) bson.D {
	var out bson.D
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, bson.E{Key: pairs[i].(string), Value: pairs[i+1]})
	}
	return out
}

// doc is a message as the service stored it; more replaces fields, and nil leaves one out.
func doc(n int, id, chat, text string, raw any, more ...any) bson.D {
	out := d(
		"_id", ID(n), "accountId", Shop, "messageId", id, "chatId", chat, "from", chat, "fromMe", false,
		"timestamp", At(n).Unix(), "type", "text", "text", text, "caption", nil, "hasMedia", false, "mediaUrl", nil,
		"mediaType", nil, "mediaGridFsId", nil, "mediaSize", nil, "mediaMimetype", nil, "mediaFileName", nil,
		"mediaWidth", nil, "mediaHeight", nil, "quotedMessage", nil, "mentions", bson.A{}, "isForwarded", false,
		"rawMessage", raw, "createdAt", At(n).Add(2*time.Second), "updatedAt", At(n).Add(3*time.Second),
	)
	for i := 0; i+1 < len(more); i += 2 {
		for j := range out {
			if out[j].Key == more[i].(string) {
				out[j].Value = more[i+1]
				if more[i+1] == nil {
					out = append(out[:j], out[j+1:]...)
				}
				break
			}
		}
	}
	return out
}

// raw is the library's object of a message.
func raw(n int, id, chat string, fromMe bool, message any, more ...any) bson.D {
	key := d("remoteJid", chat, "fromMe", fromMe, "id", id)
	out := d("key", key, "messageTimestamp", int32(At(n).Unix()), "pushName", "Anna", "broadcast", false, "message", message) //nolint:gosec // before 2038
	for i := 0; i+1 < len(more); i += 2 {
		if more[i] == "participant" {
			out[0].Value = append(key, bson.E{Key: "participant", Value: more[i+1]})
			continue
		}
		out = append(out, bson.E{Key: more[i].(string), Value: more[i+1]})
	}
	return out
}

func long(v int64) bson.D {
	return d("low", int32(v), "high", int32(v>>32), "unsigned", true) //nolint:gosec // its halves
}

func buffer(b ...byte) bson.D {
	var data bson.A
	for _, x := range b {
		data = append(data, int32(x))
	}
	return d("type", "Buffer", "data", data)
}

// Messages are the documents of the collection messages, in the order of storing.
func Messages() []any {
	photo := d("imageMessage", d(
		"url", "https://mmg.whatsapp.net/x", "mimetype", "image/jpeg", "caption", "the garden", "fileSha256", buffer(1, 2, 3),
		"fileLength", long(PhotoSize), "height", int32(480), "width", 640.0, "mediaKey", bson.Binary{Data: []byte{9, 9}},
		"directPath", "/v/t62", "mediaKeyTimestamp", "1709287200", "jpegThumbnail", "/9j/4AAQ",
	))
	voice := d("audioMessage", d("mimetype", "audio/ogg; codecs=opus", "seconds", int32(4), "ptt", true, "fileLength", "154"))
	lost := d("videoMessage", d("mimetype", "video/mp4", "caption", "too old", "seconds", int32(7), "gifPlayback", false))
	quote := d("extendedTextMessage", d("text", "Yes, until six", "contextInfo", d(
		"stanzaId", "HELLO", "participant", Anna, "quotedMessage", d("conversation", "Are you open?"), "mentionedJid", bson.A{},
	)))
	return []any{
		doc(1, "HELLO", Anna, "Are you open?", raw(1, "HELLO", Anna, false, d("conversation", "Are you open?"))),
		doc(2, "ANSWER", Anna, "Yes, until six", raw(2, "ANSWER", Anna, true, quote), "fromMe", true, "timestamp", float64(At(2).Unix()),
			"quotedMessage", d("messageId", "HELLO", "participant", Anna, "text", "Are you open?", "hasMedia", false)),
		doc(3, "PHOTO", Anna, "", raw(3, "PHOTO", Anna, false, photo), "timestamp", long(At(3).Unix()), "type", "image", "caption", "the garden",
			"hasMedia", true, "mediaUrl", "/accounts/shop/messages/PHOTO/media", "mediaType", "image", "mediaGridFsId", ID(photoFile),
			"mediaSize", int32(PhotoSize), "mediaMimetype", "image/jpeg", "mediaWidth", int32(640), "mediaHeight", int32(480)),
		doc(4, "LOST", Anna, "", raw(4, "LOST", Anna, false, lost), "timestamp", "1709287440", "hasMedia", true),
		doc(5, "THUMB", Anna, "", raw(5, "THUMB", Anna, false,
			d("reactionMessage", d("key", d("remoteJid", Anna, "fromMe", false, "id", "HELLO"), "text", "👍", "senderTimestampMs", long(1709287500000))))),
		doc(6, "REVOKE", Anna, "", raw(6, "REVOKE", Anna, false,
			d("protocolMessage", d("key", d("remoteJid", Anna, "fromMe", false, "id", "OTHER"), "type", "REVOKE")))),
		doc(7, "SETTING", Anna, "", raw(7, "SETTING", Anna, false, d("protocolMessage", d("type", int32(3), "ephemeralExpiration", int32(86400))))),
		doc(8, "STATUS", "status@broadcast", "", raw(8, "STATUS", "status@broadcast", false,
			d("extendedTextMessage", d("text", "On holiday", "font", "SYSTEM")), "participant", Bert)),
		doc(9, "3EB0.GROUP.1", Group, "Hello all", raw(9, "3EB0.GROUP.1", Group, false, d("conversation", "Hello all"), "participant", Bert)),
		doc(10, "HELLO", Anna, "Are you open?", raw(1, "HELLO", Anna, false, d("conversation", "Are you open?"))),
		d("_id", ID(11), "accountId", Shop, "messageId", "BARE", "from", Anna, "text", "only this", "createdAt", At(11)),
		doc(12, "GARBAGE", Anna, "still here", "not an object", "timestamp", "yesterday", "mentions", "919547400579@s.whatsapp.net"),
		doc(13, "", Anna, "who am I", nil),
		doc(14, "ORPHAN", Anna, "left behind", nil, "accountId", Gone),
		doc(15, "STUB", Anna, "", raw(15, "STUB", Anna, false, nil, "messageStubType", int32(2))),
		doc(16, "EDIT", Anna, "", raw(16, "EDIT", Anna, false, d("protocolMessage", d("key", d("remoteJid", Anna, "fromMe", false, "id", "HELLO"),
			"type", int32(14), "editedMessage", d("conversation", "Are you open today?"))))),
		doc(17, "VOICE", Anna, "", raw(17, "VOICE", Anna, false, voice), "type", "audio", "hasMedia", true, "mediaType", "audio",
			"mediaGridFsId", ID(voiceFile).Hex()),
		doc(18, "DAMAGED", Anna, "the bill", nil, "type", "document", "hasMedia", true, "mediaGridFsId", ID(damagedFile), "mediaMimetype", "application/pdf"),
		doc(19, "PLACE", Anna, "", raw(19, "PLACE", Anna, false,
			d("locationMessage", d("degreesLatitude", "52.5", "degreesLongitude", 13.25, "name", "The office"))), "type", "location"),
		doc(20, "DOTTED", Bert, "to the other account", nil, "accountId", Dotted),
		doc(21, "NOCHAT", "", "nowhere", nil, "from", ""),
		// It came late: stored last, and older than all.
		doc(22, "EARLY", Anna, "I was first", nil, "timestamp", At(0).Unix()),
		d("_id", "not even an ObjectID", "accountId", int32(7)),
	}
}
