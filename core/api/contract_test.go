package api

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	jidError  = `{"code":"invalid_jid","error":"Invalid WhatsApp JID format for \"to\" field. Expected format: 1234567890@s.whatsapp.net or 123456789@g.us","ok":false}`
	lenError  = `{"code":"message_length_invalid","error":"Message length invalid. Must be between 1 and 65536 characters","ok":false}`
	mentError = `{"code":"invalid_mentions","error":"Invalid JID format in mentions array","ok":false}`
	needError = `{"code":"to_and_message_required","error":"to and message are required","ok":false}`
	gone      = `{"code":"account_not_found","error":"Account not found","ok":false}`
	internal  = `{"code":"internal_error","error":"internal_error","ok":false}`
	badID     = `{"code":"invalid_account_id","error":"invalid account id: expected 1 to 64 letters, digits, _ or -","ok":false}`
	badJSON   = `{"code":"malformed_json","error":"request body is not valid JSON","ok":false}`
	noObject  = `{"code":"malformed_json","error":"request body must be a JSON object","ok":false}`
	shop      = `{"_id":"shop","name":"The shop","collectionName":"auth_shop","createdAt":"2026-01-31T12:00:00.005Z","status":"connected","updatedAt":"2026-01-31T12:00:00.005Z","currentStatus":"connected","hasQR":false,"id":"shop","state":"connected","reason":"","jid":"1:2@s.whatsapp.net","lid":""}`
	sentOK    = `{"messageId":"3EB0AA","ok":true,"timestamp":1769860800}`
	message1  = `"accountId":"shop","messageId":"M1","chatId":"9@s.whatsapp.net","from":"9@s.whatsapp.net","fromMe":false,"timestamp":1769860800,"type":"text","text":"hi <there>","caption":null,"hasMedia":false,"mediaUrl":null,"mediaType":null,"mediaGridFsId":null,"mediaSize":null,"mediaMimetype":null,"mediaFileName":null,"mediaWidth":null,"mediaHeight":null,"quotedMessage":null,"mentions":[],"isForwarded":false,"rawMessage":null,"createdAt":"2026-01-31T12:00:00.005Z","updatedAt":"2026-01-31T12:00:00.005Z","eventId":"ev_M1","name":"","participant":null,"senderPn":null,"senderLid":null,"mediaStatus":null}`
)

// scenario is one request and the whole answer.
type scenario struct {
	name    string
	request string
	body    string
	headers []string
	world   func(*world)
	status  int
	want    string
	after   func(*testing.T, *world)
}

func down(w *world) { w.down = true }

func long(n int) string {
	return `{"to":"9@s.whatsapp.net","message":"` + strings.Repeat("ä", n) + `"}`
}

var scenarios = []scenario{
	{name: "ping", request: "GET /ping", status: 200, want: `{"ok":true,"pong":true,"time":"2026-01-31T12:00:00.005Z"}`},

	{
		name: "create", request: "POST /accounts", body: `{"id":"a_1","name":"A","collectionName":"keys_a","color":"red"}`,
		status: 201, want: `{"account":{"collectionName":"keys_a","id":"a_1","name":"A","status":"created"},"ok":true}`,
	},
	{name: "create with defaults", request: "POST /accounts", body: `{"id":"b"}`, status: 201, want: `{"account":{"collectionName":"auth_b","id":"b","name":"b","status":"created"},"ok":true}`},
	{name: "create without id", request: "POST /accounts", body: `{"name":"A"}`, status: 400, want: `{"code":"id_required","error":"id is required","ok":false}`},
	{name: "create without body", request: "POST /accounts", status: 400, want: `{"code":"id_required","error":"id is required","ok":false}`},
	{name: "create again", request: "POST /accounts", body: `{"id":"shop"}`, status: 400, want: `{"code":"account_exists","error":"Account already exists","ok":false}`},
	{name: "create with a bad id", request: "POST /accounts", body: `{"id":"a b"}`, status: 400, want: badID},
	{name: "create with a number as id", request: "POST /accounts", body: `{"id":12}`, status: 400, want: badID},
	{name: "create with a bad name", request: "POST /accounts", body: `{"id":"a","name":{}}`, status: 400, want: `{"code":"invalid_name","error":"invalid name: expected at most 200 characters","ok":false}`},
	{name: "create with a bad collection", request: "POST /accounts", body: `{"id":"a","collectionName":"$x"}`, status: 400, want: `{"code":"invalid_collection_name","error":"invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.","ok":false}`},
	{name: "create with a collection that begins with a dot", request: "POST /accounts", body: `{"id":"a","collectionName":".dot"}`, status: 400, want: `{"code":"invalid_collection_name","error":"invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.","ok":false}`},
	{name: "create with a collection that ends with a dot", request: "POST /accounts", body: `{"id":"a","collectionName":"dot."}`, status: 400, want: `{"code":"invalid_collection_name","error":"invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.","ok":false}`},
	{name: "create with a collection that has two dots", request: "POST /accounts", body: `{"id":"a","collectionName":"a..x"}`, status: 400, want: `{"code":"invalid_collection_name","error":"invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.","ok":false}`},
	{name: "create with a collection that is the server's", request: "POST /accounts", body: `{"id":"a","collectionName":"system.users"}`, status: 400, want: `{"code":"invalid_collection_name","error":"invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.","ok":false}`},
	{name: "create with a collection that is too long", request: "POST /accounts", body: `{"id":"a","collectionName":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`, status: 400, want: `{"code":"invalid_collection_name","error":"invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.","ok":false}`},
	{name: "create while down", request: "POST /accounts", body: `{"id":"a"}`, world: down, status: 500, want: internal},

	{name: "get", request: "GET /accounts/shop", status: 200, want: `{"account":` + shop + `,"ok":true}`},
	{
		name: "get one that is not started", request: "GET /accounts/old", status: 200,
		want: `{"account":{"_id":"old","name":"old","collectionName":"auth_old","createdAt":"2026-01-31T12:00:00.005Z","status":"logged_out","updatedAt":"2026-01-31T12:00:00.005Z","currentStatus":"not_started","hasQR":false,"id":"old","state":"logged_out","reason":"device_removed","jid":"","lid":""},"ok":true}`,
	},
	{name: "get none", request: "GET /accounts/none", status: 404, want: gone},
	{name: "get with a bad id", request: "GET /accounts/a.b", status: 400, want: badID},
	{name: "list while down", request: "GET /accounts", world: down, status: 500, want: internal},
	{
		name: "list", request: "GET /accounts", status: 200, want: `{"accounts":[` + shop + `],"ok":true}`,
		world: func(w *world) { delete(w.accounts, "new"); delete(w.accounts, "old"); delete(w.accounts, "banned") },
	},
	{name: "list none", request: "GET /accounts", status: 200, want: `{"accounts":[],"ok":true}`, world: func(w *world) { clear(w.accounts) }},
	{name: "delete", request: "DELETE /accounts/old", status: 200, want: `{"deletedCollection":"auth_old","message":"Account deleted","ok":true}`},
	{name: "delete none", request: "DELETE /accounts/none", status: 404, want: gone},

	{name: "status", request: "GET /accounts/shop/status", status: 200, want: `{"accountId":"shop","collection":"auth_shop","ok":true,"qr":null,"reason":"","state":"connected","status":"connected"}`},
	{name: "status while pairing", request: "GET /accounts/new/status", status: 200, want: `{"accountId":"new","collection":"auth_new","ok":true,"qr":"2@abc,def","reason":"","state":"pairing","status":"connecting"}`},
	{name: "status of none", request: "GET /accounts/none/status", status: 404, want: `{"code":"account_not_started","error":"Account not found or not started","ok":false}`},
	{name: "status when not started", request: "GET /accounts/banned/status", status: 404, want: `{"code":"account_not_started","error":"Account not found or not started","ok":false,"reason":"temporary_ban","state":"banned"}`},

	{name: "connect", request: "POST /accounts/old/connect", status: 200, want: `{"accountId":"old","message":"Connection initiated. Check /accounts/old/status for QR code","ok":true,"state":"connecting","status":"connecting"}`},
	{name: "connect fails", request: "POST /accounts/old/connect", world: func(w *world) { w.connectErr = errDown }, status: 500, want: `{"code":"connect_failed","error":"Failed to connect","ok":false}`},
	{name: "connect none", request: "POST /accounts/none/connect", status: 500, want: `{"code":"connect_failed","error":"Failed to connect","ok":false}`},
	{name: "disconnect", request: "POST /accounts/shop/disconnect", status: 200, want: `{"message":"Account disconnected","ok":true}`},
	{name: "disconnect fails", request: "POST /accounts/shop/disconnect", world: func(w *world) { w.connectErr = errDown }, status: 500, want: `{"code":"disconnect_failed","error":"Failed to disconnect","ok":false}`},
	{name: "logout", request: "POST /accounts/shop/logout", status: 200, want: `{"message":"Account logged out","ok":true}`},
	{name: "logout none", request: "POST /accounts/none/logout", status: 404, want: gone},

	{
		name: "send", request: "POST /accounts/shop/message/send", body: `{"to":"9@s.whatsapp.net","message":"hi"}`, status: 200, want: sentOK,
		after: func(t *testing.T, w *world) {
			require.Equal(t, []send.Request{{Account: "shop", To: "9@s.whatsapp.net", Text: "hi"}}, w.sent)
		},
	},
	{
		name: "send with everything", request: "POST /accounts/shop/message/send", headers: []string{"Idempotency-Key: order 7"},
		body:  `{"to":"+91 95474-00579","message":"hi","mentions":["5@lid","9547400579"],"quotedMessageId":"M1"}`,
		world: func(w *world) { w.messages = []store.Message{message("M1")} }, status: 200, want: sentOK,
		after: func(t *testing.T, w *world) {
			require.Equal(t, []send.Request{{
				Account: "shop", To: "919547400579@s.whatsapp.net", Text: "hi", Mentions: []string{"5@lid", "9547400579@s.whatsapp.net"},
				QuoteID: "M1", Key: "order 7",
			}}, w.sent)
		},
	},
	{
		name: "send quoting what is not known", request: "POST /accounts/shop/message/send", body: `{"to":"9@s.whatsapp.net","message":"hi","quotedMessageId":"M9"}`,
		status: 200, want: `{"messageId":"3EB0AA","ok":true,"quoted":false,"timestamp":1769860800}`,
		after: func(t *testing.T, w *world) { require.True(t, w.sent[0].Unquoted) },
	},
	// The order of failures: each request is wrong in everything that is checked later, too.
	{name: "send 1: nothing", request: "POST /accounts/none/message/send", status: 400, want: needError},
	{name: "send 1: no to", request: "POST /accounts/none/message/send", body: `{"message":"` + strings.Repeat("x", 65_537) + `"}`, status: 400, want: needError},
	{name: "send 1: no message", request: "POST /accounts/none/message/send", body: `{"to":"bad"}`, status: 400, want: needError},
	{name: "send 1: empty message", request: "POST /accounts/none/message/send", body: `{"to":"bad","message":"","mentions":["x"]}`, status: 400, want: needError},
	{name: "send 2: bad to", request: "POST /accounts/none/message/send", body: `{"to":"bad","message":"` + strings.Repeat("x", 65_537) + `"}`, status: 400, want: jidError},
	{name: "send 2: to is a number", request: "POST /accounts/none/message/send", body: `{"to":919547400579,"message":"x"}`, status: 400, want: jidError},
	{name: "send 3: too long", request: "POST /accounts/none/message/send", body: strings.Replace(long(65_537), "}", `,"mentions":["x"]}`, 1), status: 400, want: lenError},
	{name: "send 3: longest", request: "POST /accounts/shop/message/send", body: long(65_536), status: 200, want: sentOK},
	{name: "send 3: no text", request: "POST /accounts/none/message/send", body: `{"to":"9@lid","message":{"a":1}}`, status: 400, want: lenError},
	{name: "send 4: bad mention", request: "POST /accounts/none/message/send", body: `{"to":"9@g.us","message":"x","mentions":["9@lid","x"]}`, status: 400, want: mentError},
	{name: "send 4: mentions are no list", request: "POST /accounts/none/message/send", body: `{"to":"9@g.us","message":"x","mentions":"9@lid"}`, status: 400, want: mentError},
	{name: "send 4: null mention", request: "POST /accounts/none/message/send", body: `{"to":"9@g.us","message":"x","mentions":[null]}`, status: 400, want: mentError},
	{name: "send 5: no account", request: "POST /accounts/none/message/send", body: `{"to":"9@g.us","message":"x"}`, status: 404, want: gone},
	{
		name: "send 6: not connected", request: "POST /accounts/old/message/send", body: `{"to":"9@g.us","message":"x"}`, status: 400,
		want: `{"code":"account_not_connected","error":"Account not connected","ok":false,"reason":"device_removed","state":"logged_out","status":"logged_out"}`,
	},
	{name: "send 7: internal", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, world: func(w *world) { w.sendErr = errDown }, status: 500, want: internal},
	{
		name: "send refused", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, world: func(w *world) { w.sendErr = &send.FailedError{Reason: "not_in_group"} },
		status: 500, want: `{"code":"internal_error","error":"internal_error","ok":false,"reason":"not_in_group"}`,
	},
	{
		name: "send uncertain", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, world: func(w *world) { w.sendErr = send.ErrUnknown },
		status: 504, want: `{"code":"send_uncertain","error":"WhatsApp has not confirmed the message: it may have been sent","messageId":"3EB0AA","ok":false}`,
	},
	{
		name: "send times out", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, world: func(w *world) { w.block = true },
		status: 503, want: `{"code":"not_sent","error":"message was not sent: WhatsApp could not be reached in time","ok":false}`,
	},
	{
		name: "send times out with a key", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, headers: []string{"Idempotency-Key: k"},
		world: func(w *world) { w.block = true }, status: 202, want: `{"messageId":"3EB0AA","ok":true,"pending":true,"timestamp":null}`,
	},
	{
		name: "send with a used key", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, headers: []string{"Idempotency-Key: k"},
		world:  func(w *world) { w.sendErr = send.ErrKeyReused },
		status: 422, want: `{"code":"idempotency_key_reused","error":"this Idempotency-Key was used for another request","ok":false}`,
	},
	{
		name: "send with a bad key", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, headers: []string{"Idempotency-Key: " + strings.Repeat("k", 256)},
		status: 400, want: `{"code":"invalid_idempotency_key","error":"invalid Idempotency-Key: expected 1 to 255 printable characters","ok":false}`,
	},
	{name: "send while the database is away", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, world: func(w *world) { w.sendErr = store.ErrAway }, status: 503, want: `{"code":"storage_unavailable","error":"the database does not answer: try again in a moment","ok":false}`},
	{name: "send while the disk is full", request: "POST /accounts/shop/message/send", body: `{"to":"9@g.us","message":"x"}`, world: func(w *world) { w.sendErr = store.ErrFull }, status: 507, want: `{"code":"storage_full","error":"storage is full","ok":false}`},

	{
		name: "messages", request: "GET /messages", world: func(w *world) { w.messages = []store.Message{message("M1")} }, status: 200,
		want: `{"messages":[{"_id":"ev_M1",` + message1 + `],"ok":true,"pagination":{"hasMore":false,"limit":50,"skip":0,"total":1}}`,
	},
	{
		name: "messages, a page of an account", request: "GET /messages?limit=1&skip=1&accountId=shop", status: 200,
		world: func(w *world) { w.messages = []store.Message{message("M3"), message("M1"), message("M0")} },
		want:  `{"messages":[{"_id":"ev_M1",` + message1 + `],"ok":true,"pagination":{"hasMore":true,"limit":1,"skip":1,"total":3}}`,
		after: func(t *testing.T, w *world) {
			require.Equal(t, store.MessageQuery{Account: "shop", Offset: 1, Limit: 1}, w.query)
		},
	},
	{
		name: "messages, odd numbers", request: "GET /messages?limit=5x&skip=-99999999999999999999", status: 200,
		want: `{"messages":[],"ok":true,"pagination":{"hasMore":false,"limit":50,"skip":0,"total":0}}`,
	},
	{
		name: "messages, numbers beyond all bounds", request: "GET /messages?limit=99999999999999999999&skip=99999999999999999999", status: 200,
		world: func(w *world) { w.messages = []store.Message{message("M1")} },
		want:  `{"messages":[],"ok":true,"pagination":{"hasMore":false,"limit":500,"skip":2147483647,"total":1}}`,
	},
	{
		name: "messages, a limit below all bounds", request: "GET /messages?limit=-99999999999999999999", status: 200,
		want: `{"messages":[],"ok":true,"pagination":{"hasMore":false,"limit":1,"skip":0,"total":0}}`,
	},
	{
		name: "messages of a chat, an offset beyond all bounds", request: "GET /accounts/shop/chats/919547400579/messages?offset=99999999999999999999", status: 200,
		world: func(w *world) { w.messages = []store.Message{message("M1")} },
		want:  `{"messages":[],"ok":true,"pagination":{"hasMore":false,"limit":50,"offset":2147483647,"total":1}}`,
	},
	{
		name: "media, a skip beyond all bounds", request: "GET /media?skip=99999999999999999999&limit=99999999999999999999", status: 200, want: `{"media":[],"ok":true}`,
		after: func(t *testing.T, w *world) {
			require.Equal(t, math.MaxInt32, w.blobQ.Offset)
			require.Equal(t, 500, w.blobQ.Limit)
		},
	},
	{name: "messages, at most 500", request: "GET /messages?limit=501", status: 200, want: `{"messages":[],"ok":true,"pagination":{"hasMore":false,"limit":500,"skip":0,"total":0}}`},
	{name: "messages of no possible account", request: "GET /messages?accountId=a%20b", status: 200, want: `{"messages":[],"ok":true,"pagination":{"hasMore":false,"limit":50,"skip":0,"total":0}}`},
	{name: "messages while down", request: "GET /messages", world: down, status: 500, want: internal},
	{name: "message", request: "GET /accounts/shop/messages/M1", world: func(w *world) { w.messages = []store.Message{message("M1")} }, status: 200, want: `{"message":{` + message1 + `,"ok":true}`},
	{name: "message none", request: "GET /accounts/shop/messages/M2", status: 404, want: `{"code":"message_not_found","error":"Message not found","ok":false}`},

	{
		name: "webhook", request: "POST /webhooks", body: `{"url":"http://localhost:5678/hook?x=1"}`, status: 201,
		want: `{"created":true,"id":"wh_01KG9YS7G5CHJQ8SBJDNMPWTBK","ok":true,"secret":"whsec_dGljZGV0ZXJtaW5pc3RpY2RldGVybWluaXN0aWNkZXQ=","url":"http://localhost:5678/hook?x=1"}`,
	},
	{
		name: "webhook with everything", request: "POST /webhooks", status: 201,
		body:  `{"url":"https://example.com/","accountId":"shop","events":["receipt","message","receipt"],"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","headers":{"X-A":"b"}}`,
		want:  `{"created":true,"id":"wh_01KG9YS7G5CHJQ8SBJDNMPWTBK","ok":true,"secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw","url":"https://example.com/"}`,
		after: func(t *testing.T, w *world) { require.Equal(t, []string{"receipt", "message"}, w.hooks[0].Events) },
	},
	{
		name: "webhook again", request: "POST /webhooks", body: `{"url":"http://a/"}`, world: func(w *world) { w.hooks = []store.Webhook{{ID: "wh_1", URL: "http://a/", Secret: "whsec_s"}} },
		status: 200, want: `{"created":false,"id":"wh_1","ok":true,"url":"http://a/"}`,
	},
	{name: "webhook without url", request: "POST /webhooks", body: `{}`, status: 400, want: `{"code":"url_required","error":"url is required and must be a string","ok":false}`},
	{name: "webhook url is a number", request: "POST /webhooks", body: `{"url":1}`, status: 400, want: `{"code":"url_required","error":"url is required and must be a string","ok":false}`},
	{name: "webhook url is none", request: "POST /webhooks", body: `{"url":"not a url"}`, status: 400, want: `{"code":"invalid_url","error":"invalid URL","ok":false}`},
	{name: "webhook url without host", request: "POST /webhooks", body: `{"url":"http://"}`, status: 400, want: `{"code":"invalid_url","error":"invalid URL","ok":false}`},
	{name: "webhook url with a port too large", request: "POST /webhooks", body: `{"url":"http://127.0.0.1:99999/"}`, status: 400, want: `{"code":"invalid_url","error":"invalid URL","ok":false}`},
	{name: "webhook url with port 0", request: "POST /webhooks", body: `{"url":"http://127.0.0.1:0/"}`, status: 400, want: `{"code":"invalid_url","error":"invalid URL","ok":false}`},
	{name: "webhook url scheme", request: "POST /webhooks", body: `{"url":"ftp://example.com"}`, status: 400, want: `{"code":"invalid_url_scheme","error":"only http/https URLs are allowed","ok":false}`},
	{name: "webhook account", request: "POST /webhooks", body: `{"url":"http://a","accountId":"a b"}`, status: 400, want: `{"code":"invalid_account_id","error":"accountId must be an account id","ok":false}`},
	{
		name: "webhook events", request: "POST /webhooks", body: `{"url":"http://a","events":["messages"]}`, status: 400,
		want: `{"code":"invalid_events","error":"events must be a list of event types","known":["message","receipt","reaction","edit","revoke","account","undecryptable","unparsed"],"ok":false}`,
	},
	{name: "webhook secret", request: "POST /webhooks", body: `{"url":"http://a","secret":"hunter2"}`, status: 400, want: `{"code":"invalid_secret","error":"secret must be text: whsec_ and base64 of 24 to 64 bytes","ok":false}`},
	{name: "webhook headers", request: "POST /webhooks", body: `{"url":"http://a","headers":["a"]}`, status: 400, want: `{"code":"invalid_headers","error":"headers must be an object of texts","ok":false}`},
	{
		name: "webhook that the connector refuses", request: "POST /webhooks", body: `{"url":"http://a"}`, world: func(w *world) { w.hookErr = &sdk.ConfigError{Path: "headers", Message: "Host is ours"} },
		status: 400, want: `{"code":"invalid_webhook","error":"invalid webhook: headers: Host is ours","ok":false}`,
	},
	{
		name: "webhooks", request: "GET /webhooks", status: 200,
		world: func(w *world) {
			w.hooks = []store.Webhook{{ID: "wh_1", URL: "http://a/?b&c", Secret: "whsec_s", CreatedAt: noon}, {ID: "wh_2", URL: "http://b", Account: "shop", Events: []string{"receipt"}, CreatedAt: noon}}
		},
		want: `{"ok":true,"webhooks":[{"accountId":null,"createdAt":"2026-01-31T12:00:00.005Z","events":["message"],"id":"wh_1","url":"http://a/?b&c"},{"accountId":"shop","createdAt":"2026-01-31T12:00:00.005Z","events":["receipt"],"id":"wh_2","url":"http://b"}]}`,
	},
	{name: "delete webhook", request: "DELETE /webhooks/wh_1", world: func(w *world) { w.hooks = []store.Webhook{{ID: "wh_1"}} }, status: 200, want: `{"message":"Webhook deleted","ok":true}`},
	{
		name: "media", request: "GET /media?messageId=M1&accountId=shop&chatId=9@s.whatsapp.net&limit=2&skip=1", status: 200,
		world: func(w *world) { w.files = map[string]string{"f1": "bytes"} },
		want:  `{"media":[{"contentType":"image/jpeg","filename":"shop_f1_1.jpg","id":"f1","length":5,"metadata":{"accountId":"shop","chatId":"9@s.whatsapp.net","messageId":"M1","ptt":false,"width":640},"uploadDate":"2026-01-31T12:00:00.005Z"}],"ok":true}`,
		after: func(t *testing.T, w *world) {
			require.Equal(t, store.BlobQuery{Account: "shop", Offset: 1, Limit: 2, Meta: map[string]string{"messageId": "M1", "chatId": "9@s.whatsapp.net"}}, w.blobQ)
		},
	},
	{name: "media while down", request: "GET /media", world: down, status: 500, want: internal},
	{name: "no file", request: "GET /media/nope", status: 404, want: `{"code":"media_not_found","error":"media not found","ok":false}`},
	{name: "a file while down", request: "GET /media/f1", world: func(w *world) { w.files = map[string]string{"f1": "b"}; w.down = true }, status: 500, want: internal},
	{name: "the file of no message", request: "GET /accounts/shop/messages/M9/media", status: 404, want: `{"code":"message_not_found","error":"Message not found","ok":false}`},
	{
		name: "the file of a message that comes in", request: "GET /accounts/shop/messages/M1/media",
		world:  func(w *world) { w.messages = []store.Message{withMedia("pending")} },
		status: 404, want: `{"code":"media_not_fetched","error":"the media of messages that come in are not fetched yet","ok":false}`,
	},
	{
		name: "the file that the service before failed to fetch", request: "GET /accounts/shop/messages/M1/media",
		world:  func(w *world) { w.messages = []store.Message{withMedia("failed")} },
		status: 404, want: `{"code":"no_media","error":"Message has no media","ok":false}`,
	},
	{
		name: "the file of a text", request: "GET /accounts/shop/messages/M1/media", world: func(w *world) { w.messages = []store.Message{message("M1")} },
		status: 404, want: `{"code":"no_media","error":"Message has no media","ok":false}`,
	},
	{
		name: "chats", request: "GET /accounts/shop/chats", world: func(w *world) { w.messages = []store.Message{message("M1")} }, status: 200,
		want: `{"chats":[{"chatId":"9@s.whatsapp.net","lastMessage":{"fromMe":false,"messageId":"M1","text":"hi <there>","timestamp":1769860800,"type":"text"},"messageCount":7}],"ok":true}`,
	},
	{name: "no chats", request: "GET /accounts/none/chats", status: 200, want: `{"chats":[],"ok":true}`},
	{name: "chats while down", request: "GET /accounts/shop/chats", world: down, status: 500, want: internal},
	{
		name: "messages of a chat", request: "GET /accounts/shop/chats/919547400579/messages?limit=1&offset=0&after=1769860000&before=1769870000",
		world: func(w *world) { w.messages = []store.Message{message("M1"), message("M2")} }, status: 200,
		want: `{"messages":[{"_id":"ev_M1",` + message1 + `],"ok":true,"pagination":{"hasMore":true,"limit":1,"offset":0,"total":2}}`,
		after: func(t *testing.T, w *world) {
			require.Equal(t, store.MessageQuery{Account: "shop", Chat: "919547400579@s.whatsapp.net", Limit: 1, After: time.Unix(1769860000, 0), Before: time.Unix(1769870000, 0)}, w.query)
		},
	},
	{name: "messages of a chat since never", request: "GET /accounts/shop/chats/9@lid/messages?after=never", status: 400, want: `{"code":"invalid_time","error":"before and after must be times in unix seconds, or such as 2026-01-31T12:00:00Z","ok":false}`},
	{name: "delete no webhook", request: "DELETE /webhooks/wh_1", status: 404, want: `{"code":"webhook_not_found","error":"Webhook not found","ok":false}`},
}

func TestTheContract(t *testing.T) {
	for _, sc := range scenarios {
		for _, prefix := range []string{"", "/v1"} {
			t.Run(sc.name+prefix, func(t *testing.T) {
				r := newRig(t)
				if sc.world != nil {
					sc.world(r.world)
				}
				rec := r.do(strings.Replace(sc.request, " ", " "+prefix, 1), sc.body, sc.headers...)
				require.Equal(t, sc.want, strings.TrimSpace(rec.Body.String()))
				require.Equal(t, sc.status, rec.Code)
				require.Equal(t, "application/json; charset=utf-8", rec.Header().Get("Content-Type"))
				if sc.after != nil {
					sc.after(t, r.world)
				}
			})
		}
	}
}

func TestNewRoutesExistUnderV1Alone(t *testing.T) {
	r := newRig(t)
	require.Equal(t, 200, r.do("GET /v1/deliveries", "").Code)
	require.Equal(t, 404, r.do("GET /deliveries", "").Code)
}

func TestEveryAnswerIsJSON(t *testing.T) {
	for _, c := range []struct {
		request, body string
		status        int
		want          string
	}{
		{"GET /nothing", "", 404, `{"code":"unknown_route","error":"not found","ok":false}`},
		{"GET /v1", "", 404, `{"code":"unknown_route","error":"not found","ok":false}`},
		{"PUT /accounts", "", 405, `{"code":"method_not_allowed","error":"method not allowed","ok":false}`},
		{"BREW /ping", "", 405, `{"code":"method_not_allowed","error":"method not allowed","ok":false}`},
		{"POST /accounts", "{", 400, badJSON},
		{"POST /accounts", `{"id":"a"} x`, 400, badJSON},
		{"POST /accounts", `[1]`, 400, noObject},
		{"POST /accounts", `"id"`, 400, noObject},
		{"POST /accounts", `null`, 400, noObject},
		{"POST /accounts", `{"id":"` + strings.Repeat("a", maxJSON) + `"}`, 413, `{"code":"body_too_large","error":"request body is too large","ok":false}`},
	} {
		rec := newRig(t).do(c.request, c.body)
		require.Equal(t, c.want, strings.TrimSpace(rec.Body.String()), c.request)
		require.Equal(t, c.status, rec.Code)
	}
}

func TestASlashAtTheEndDoesNotMatter(t *testing.T) {
	r := newRig(t)
	require.Equal(t, 200, r.do("GET /ping/", "").Code)
	require.Equal(t, 201, r.do("POST /accounts/", `{"id":"x"}`).Code)
	require.Equal(t, 404, r.do("GET /", "").Code)
	require.Equal(t, 404, r.do("GET //", "").Code)
	require.Equal(t, 200, r.do("HEAD /ping", "").Code)
}

func TestAnInternalErrorsTextNeverReachesTheClient(t *testing.T) {
	r := newRig(t)
	r.down = true
	rec := r.do("GET /accounts", "")
	require.NotContains(t, rec.Body.String(), "mongodb")
	require.Contains(t, r.logs.String(), "request failed")
}

func TestAPanicIsAnInternalErrorAndReported(t *testing.T) {
	r := newRig(t)
	r.panics = true
	rec := r.do("GET /accounts", "")
	require.Equal(t, internal, strings.TrimSpace(rec.Body.String()))
	require.Equal(t, http.StatusInternalServerError, rec.Code)
	require.Contains(t, r.logs.String(), "handler panicked")
	require.Contains(t, r.logs.String(), "fakes_test.go")
}
