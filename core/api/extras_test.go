package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return n
}

func delivery(id string, age time.Duration) store.Delivery {
	return store.Delivery{
		ID: id, EventID: "e1", Endpoint: "wh_1", Account: "shop", Chat: "9@lid", Seq: 2, Prev: 1, State: store.DeliveryDead, Reason: "exhausted",
		Attempt: 1, Attempts: []store.Attempt{{N: 1, At: noon, Took: 1500 * time.Millisecond, Status: "reject", Code: 410, Reason: "gone", Body: "<b>"}},
		Due: noon, CreatedAt: noon.Add(-age), UpdatedAt: noon,
	}
}

const deliveryD1 = `{"id":"d1","event":"e1","endpoint":"wh_1","account":"shop","chat":"9@lid","seq":2,"prev":1,"state":"dead","reason":"exhausted","generation":0,"attempt":1,"due":null,"stepped":false,"attempts":[{"n":1,"generation":0,"at":"2026-01-31T12:00:00.005Z","tookMs":1500,"status":"reject","code":410,"reason":"gone","body":"<b>"}],"createdAt":"2026-01-31T12:00:00.005Z","updatedAt":"2026-01-31T12:00:00.005Z"}`

func TestATraceTellsTheWholeStory(t *testing.T) {
	r := newRig(t)
	r.trace["/e1"] = Trace{
		Event:   &sdk.Event{ID: "e1", Type: sdk.TypeRevoke, Account: "shop", Time: noon, Raw: json.RawMessage(`{"secret":1}`)},
		Stages:  []TraceStage{{Stage: "stored", At: noon}, {Stage: "ruled"}},
		Verdict: json.RawMessage(`{"v":1,"sends":[{"rule":"ping","payload":"c2VjcmV0"}]}`),
		Sends: []store.Send{{
			ID: "s1", WAID: "3EB0", To: "9@lid", Rule: "ping", State: store.SendQueued, Payload: []byte("secret"), CreatedAt: noon, UpdatedAt: noon,
		}},
		Deliveries: []store.Delivery{delivery("d1", 0)},
	}
	rec := r.do("GET /v1/events/e1/trace", "")
	require.Equal(t, 200, rec.Code)
	require.Equal(t, `{"deliveries":[`+deliveryD1+`],`+
		`"event":{"id":"e1","type":"revoke","account":"shop","seq":0,"time":"2026-01-31T12:00:00.005Z"},"ok":true,`+
		`"sends":[{"id":"s1","messageId":"3EB0","to":"9@lid","rule":"ping","index":0,"state":"queued","reason":"","attempt":0,"sentAt":null,"createdAt":"2026-01-31T12:00:00.005Z","updatedAt":"2026-01-31T12:00:00.005Z"}],`+
		`"stages":[{"stage":"stored","at":"2026-01-31T12:00:00.005Z"},{"stage":"ruled","at":null}],`+
		`"verdict":{"sends":[{"rule":"ping"}],"v":1}}`, strings.TrimSpace(rec.Body.String()))
	require.NotNil(t, r.trace["/e1"].Event.Raw, "the story itself is left as it was")

	r.trace["shop/3EB0"] = Trace{Event: &sdk.Event{ID: "e2"}}
	require.Contains(t, r.do("GET /v1/events/3EB0/trace?account=shop", "").Body.String(), `"id":"e2"`)
	require.Equal(t, 400, r.do("GET /v1/events/3EB0/trace?account=a/b", "").Code)
	rec = r.do("GET /v1/events/none/trace", "")
	require.Equal(t, 404, rec.Code)
	require.Contains(t, rec.Body.String(), `"error":"Event not found"`)
}

func TestDeliveriesArePaged(t *testing.T) {
	r := newRig(t)
	r.deliveries = []store.Delivery{delivery("d1", 0), delivery("d2", time.Minute), delivery("d3", time.Hour)}
	rec := r.do("GET /v1/deliveries?endpoint=wh_1&state=dead&event=e1&cursor=d0&limit=1", "")
	require.Equal(t, `{"cursor":"d1","deliveries":[`+deliveryD1+`],"ok":true}`, strings.TrimSpace(rec.Body.String()))
	require.Equal(t, store.DeliveryQuery{Endpoint: "wh_1", State: store.DeliveryDead, EventID: "e1", Before: "d0", Limit: 1}, r.deliveryQ)

	require.Contains(t, r.do("GET /v1/deliveries", "").Body.String(), `"cursor":null`)
	for since, count := range map[string]int{"2026-01-31T11:30:00Z": 2, "1769860800": 1, "1": 3} {
		body := r.do("GET /v1/deliveries?since="+since, "").Body.String()
		require.Equal(t, count, strings.Count(body, `"event":"e1"`), since)
	}
	require.Equal(t, 400, r.do("GET /v1/deliveries?since=yesterday", "").Code)
	require.Equal(t, 400, r.do("GET /v1/deliveries?state=lost", "").Code)
}

func TestADeliveryIsReplayed(t *testing.T) {
	r := newRig(t)
	require.Contains(t, r.do("POST /v1/deliveries/d1/replay", "").Body.String(), `"generation":1,"attempt":0,"due":"2026-01-31T12:00:00.005Z"`)
	r.replayErr = store.ErrStale
	require.Equal(t, 409, r.do("POST /v1/deliveries/d1/replay", "").Code)
	r.replayErr = fmt.Errorf("replay: %w", ErrConnectorMissing)
	rec := r.do("POST /v1/deliveries/d1/replay", "")
	require.Equal(t, 409, rec.Code)
	require.Contains(t, rec.Body.String(), `"code":"connector_missing"`)
	r.replayErr = store.ErrNotFound
	require.Equal(t, 404, r.do("POST /v1/deliveries/d1/replay", "").Code)
}

func TestConnectorsAndRulesAreListed(t *testing.T) {
	r := newRig(t)
	require.JSONEq(t, `{"ok":true,"connectors":[{"id":"connector:jsonl","name":"jsonl","use":"./bin/x","enabled":true,"state":"running","restarts":0,"events":["message"],"accounts":[],"deliveries":{"ok":3}}]}`,
		r.do("GET /v1/connectors", "").Body.String())
}

// An account may have lost its connection since; a client that is told so sends once more.
func TestASendIsAskedAboutAgainWithoutAConnection(t *testing.T) {
	r := newRig(t)
	const body = `{"to":"9@g.us","message":"x"}`
	again := func(key string) (int, string) {
		rec := r.do("POST /accounts/old/message/send", body, "Idempotency-Key: "+key)
		return rec.Code, rec.Body.String()
	}
	code, text := again("k1")
	require.Equal(t, 400, code, text)
	require.Contains(t, text, "account_not_connected")
	r.sent = append(r.sent, send.Request{Account: "old", Key: "k1"})
	code, text = again("k1")
	require.Equal(t, 200, code, text)
	require.JSONEq(t, `{"ok":true,"messageId":"3EB0AA","timestamp":1769860800}`, text)
	r.sendErr = send.ErrPending
	code, text = again("k1")
	require.Equal(t, 202, code, text)
	require.Contains(t, text, `"pending":true`)
	r.sendErr = send.ErrKeyReused
	code, _ = again("k1")
	require.Equal(t, 422, code)
	r.sendErr = send.ErrUnknown
	code, text = again("k1")
	require.Equal(t, 504, code)
	require.Contains(t, text, `"messageId":"3EB0AA"`)
	code, _ = again("k2")
	require.Equal(t, 400, code)
	require.Equal(t, 400, r.do("POST /accounts/old/message/send", body).Code)
	require.Len(t, r.sent, 1, "nothing was sent")
}

func TestSendsAreListed(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.sends = append(r.sends, store.Send{
			ID: fmt.Sprint("s", i), Account: "shop", WAID: "3EB0AA", To: "1@s.whatsapp.net", State: store.SendUnknown, Payload: []byte("a secret"),
			Attempt: 1, CreatedAt: noon, UpdatedAt: noon,
		})
	}
	rec := r.do("GET /v1/accounts/shop/sends?state=unknown&limit=2&cursor=s9", "")
	require.Equal(t, 200, rec.Code)
	require.Equal(t, store.SendQuery{Account: "shop", State: store.SendUnknown, After: "s9", Limit: 2}, r.sendQ)
	require.Contains(t, rec.Body.String(), `"cursor":"s1"`)
	require.Contains(t, rec.Body.String(), `{"id":"s0","messageId":"3EB0AA","to":"1@s.whatsapp.net","rule":"","index":0,"state":"unknown","reason":"","attempt":1,"sentAt":null,`)
	require.NotContains(t, rec.Body.String(), "secret")
	require.Contains(t, r.do("GET /v1/accounts/shop/sends", "").Body.String(), `"cursor":null`)
	require.Equal(t, 400, r.do("GET /v1/accounts/shop/sends?state=lost", "").Code)
	require.Equal(t, 404, r.do("GET /v1/accounts/none/sends", "").Code)
	mine := r.make1(t, keys.Request{Scope: keys.Admin, Accounts: []string{"old"}})
	require.Equal(t, 404, r.do("GET /v1/accounts/shop/sends", "", mine).Code)
	require.Equal(t, 200, r.do("GET /v1/accounts/old/sends", "", mine).Code)
}

func TestASendWithoutEventHasAStory(t *testing.T) {
	r := newRig(t)
	r.trace["shop/3EB0AA"] = Trace{Sends: []store.Send{{ID: "s1", Account: "shop", WAID: "3EB0AA", State: store.SendUnknown, CreatedAt: noon, UpdatedAt: noon}}}
	rec := r.do("GET /v1/events/3EB0AA/trace?account=shop", "")
	require.Equal(t, 200, rec.Code)
	require.Contains(t, rec.Body.String(), `"event":null`)
	require.Contains(t, rec.Body.String(), `"state":"unknown"`)
	mine := r.make1(t, keys.Request{Scope: keys.Admin, Accounts: []string{"old"}})
	require.Equal(t, 404, r.do("GET /v1/events/3EB0AA/trace?account=shop", "", mine).Code)
}

func TestAConnectorIsDisabledDiscardedAndEnabled(t *testing.T) {
	r := newRig(t)
	r.hooks = []store.Webhook{{ID: "wh_1", URL: "http://a/", CreatedAt: noon}}
	for _, id := range []string{"connectors/connector:jsonl", "connectors/wh_1", "webhooks/wh_1"} {
		require.JSONEq(t, `{"ok":true,"message":"Disabled"}`, r.do("POST /v1/"+id+"/disable", "").Body.String())
		require.JSONEq(t, `{"ok":true,"message":"Enabled"}`, r.do("POST /v1/"+id+"/enable", "").Body.String())
	}
	ids := []string{"connector:jsonl", "wh_1", "wh_1"}
	require.Equal(t, ids, r.enabled)
	require.Equal(t, ids, r.disabled)
	require.JSONEq(t, `{"ok":true,"cancelled":4}`, r.do("POST /v1/connectors/wh_1/discard", "").Body.String())
	require.JSONEq(t, `{"ok":true,"cancelled":4}`, r.do("POST /v1/webhooks/wh_1/discard", "").Body.String())
	require.Equal(t, 404, r.do("POST /v1/webhooks/connector:jsonl/discard", "").Code)

	r.connErr = fmt.Errorf("enable: %w", store.ErrNotFound)
	for _, do := range []string{"enable", "disable", "discard"} {
		for path, code := range map[string]string{"connectors/none": "connector_not_found", "webhooks/none": "webhook_not_found"} {
			rec := r.do("POST /v1/"+path+"/"+do, "")
			require.Equal(t, 404, rec.Code, path)
			require.Contains(t, rec.Body.String(), code)
		}
	}
	r.connErr = ErrConnectorServed
	rec := r.do("POST /v1/connectors/wh_1/discard", "")
	require.Equal(t, 409, rec.Code)
	require.Contains(t, rec.Body.String(), "connector_not_disabled")
}

func TestAWebhookIsShownWithItsState(t *testing.T) {
	r := newRig(t)
	r.hooks = []store.Webhook{{ID: "connector:jsonl", URL: "http://a/", Secret: "whsec_x", CreatedAt: noon}, {ID: "wh_new", URL: "http://b/", CreatedAt: noon}}
	require.JSONEq(t, `{"ok":true,"webhook":{"id":"connector:jsonl","url":"http://a/","accountId":null,"events":["message"],"createdAt":"2026-01-31T12:00:00.005Z",
		"state":"running","reason":null,"deliveries":{"ok":3}}}`, r.do("GET /v1/webhooks/connector:jsonl", "").Body.String())
	require.Contains(t, r.do("GET /v1/webhooks/wh_new", "").Body.String(), `"url":"http://b/"`, "before this hub has heard of it")
	require.Equal(t, 404, r.do("GET /v1/webhooks/none", "").Code)
}

func TestHealthSaysWhichWhatsAppItIs(t *testing.T) {
	r := newRig(t)
	require.JSONEq(t, `{"ok":true,"network":"sandbox","version":"test"}`, r.do("GET /healthz", "").Body.String())
}

func TestReadyNeedsEveryCheck(t *testing.T) {
	r := newRig(t)
	r.checks = []Check{{Name: "store", OK: true}}
	require.JSONEq(t, `{"ok":true,"checks":[{"name":"store","ok":true}]}`, r.do("GET /readyz", "").Body.String())
	r.checks = append(r.checks, Check{Name: "disk", Error: "full"})
	rec := r.do("GET /readyz", "")
	require.Equal(t, 503, rec.Code)
	require.JSONEq(t, `{"ok":false,"error":"not ready","code":"not_ready","checks":[{"name":"store","ok":true},{"name":"disk","ok":false,"error":"full"}]}`, rec.Body.String())
}

func TestMediaMessagesKeepTheOldShape(t *testing.T) {
	m := message("M/1")
	m.Raw = json.RawMessage(`{"imageMessage":{}}`)
	m.Message.Kind, m.Message.Text = sdk.KindImage, "look"
	m.Message.Media = &sdk.Media{ID: "f1", MIME: "image/png", Size: 12, Width: 3, Status: "pending"}
	m.Message.Quote = &sdk.Quote{ID: "Q", Participant: "5@lid", Text: "old"}
	m.Message.Participant, m.Message.SenderPN = "5@lid", "55@s.whatsapp.net"
	got, err := json.Marshal(legacy(m))
	require.NoError(t, err)
	require.JSONEq(t, `{"accountId":"shop","messageId":"M/1","chatId":"9@s.whatsapp.net","from":"9@s.whatsapp.net","fromMe":false,"timestamp":1769860800,
		"type":"image","text":"look","caption":"look","hasMedia":true,"mediaUrl":"/accounts/shop/messages/M%2F1/media","mediaType":"image","mediaGridFsId":"f1","mediaSize":12,
		"mediaMimetype":"image/png","mediaFileName":null,"mediaWidth":3,"mediaHeight":null,"quotedMessage":{"messageId":"Q","participant":"5@lid","text":"old","hasMedia":false},
		"mentions":[],"isForwarded":false,"rawMessage":{"imageMessage":{}},"createdAt":"2026-01-31T12:00:00.005Z","updatedAt":"2026-01-31T12:00:00.005Z","eventId":"ev_M/1","name":"",
		"participant":"5@lid","senderPn":"55@s.whatsapp.net","senderLid":null,"mediaStatus":"pending"}`, string(got))
}

func TestAFileIsServedWithWhatABrowserMustKnow(t *testing.T) {
	r := newRig(t)
	r.files = map[string]string{"f1": "0123456789"}
	m := message("M1")
	m.Message.Media = &sdk.Media{ID: "f1"}
	r.messages = []store.Message{m}
	for _, path := range []string{"/media/f1", "/v1/media/f1", "/accounts/shop/messages/M1/media"} {
		rec := r.do("GET "+path, "")
		require.Equal(t, 200, rec.Code)
		require.Equal(t, "0123456789", rec.Body.String())
		for name, want := range map[string]string{
			"Content-Type": "image/jpeg", "Content-Length": "10", "Content-Disposition": `inline; filename="shop_f1_1.jpg"`,
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox", "Etag": `"ab12"`,
		} {
			require.Equal(t, want, rec.Header().Get(name), name)
		}
		rec = r.do("GET "+path, "", "Range: bytes=2-4")
		require.Equal(t, 206, rec.Code)
		require.Equal(t, "234", rec.Body.String())
		require.Equal(t, "bytes 2-4/10", rec.Header().Get("Content-Range"))
		require.Equal(t, 304, r.do("GET "+path, "", `If-None-Match: "ab12"`).Code)
	}
}

func TestNamesAndTypesOfFilesDoNoHarm(t *testing.T) {
	require.Equal(t, "inline", disposition(""))
	require.Equal(t, `inline; filename="a b.pdf"`, disposition("a b.pdf"))
	require.NotContains(t, disposition("a\r\nSet-Cookie: x\"y.pdf"), "\n")
	require.Equal(t, "audio/ogg; codecs=opus", contentType("audio/ogg; codecs=opus"))
	for _, bad := range []string{"", "jpeg", "text/html\r\nX: y", "a/b; c"} {
		require.Equal(t, "application/octet-stream", contentType(bad))
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"919547400579@s.whatsapp.net": "919547400579@s.whatsapp.net", "123-456@g.us": "123-456@g.us", "120363012345678901@g.us": "120363012345678901@g.us",
		"status@broadcast": "status@broadcast", "77@broadcast": "77@broadcast", "5@lid": "5@lid", "12@newsletter": "12@newsletter",
		"+91 95474-00579": "919547400579@s.whatsapp.net", "(030) 123.456": "", "+49 (30) 123 456": "4930123456@s.whatsapp.net", "919547400579": "919547400579@s.whatsapp.net",
		"": "", "1234": "", "1234567890123456": "", "a@s.whatsapp.net": "", "1@s.whatsapp.net.evil": "", "1:2@s.whatsapp.net": "", "x\n1@lid": "", "1@g.us\n": "1@g.us", "@g.us": "", "1@c.us": "", "12345x": "",
	} {
		got, valid := parseJID(in)
		require.Equal(t, want, got, in)
		require.Equal(t, want != "", valid, in)
	}
}

func TestTheDocumentAndTheTableAgree(t *testing.T) {
	r := newRig(t)
	rec := r.do("GET /v1/openapi.yaml", "")
	require.Equal(t, 200, rec.Code)
	doc, err := openapi3.NewLoader().LoadFromData(rec.Body.Bytes())
	require.NoError(t, err)
	require.NoError(t, doc.Validate(context.Background()))

	var described, routed []string
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			described = append(described, method+" "+path)
			require.NotEmpty(t, op.OperationID, path)
			require.False(t, ids[op.OperationID], "operation id %s twice", op.OperationID)
			ids[op.OperationID] = true
		}
	}
	param := regexp.MustCompile(`:(\w+)`)
	for _, row := range r.server.routes() {
		routed = append(routed, row.method+" "+param.ReplaceAllString(row.path, "{$1}"))
	}
	slices.Sort(described)
	slices.Sort(routed)
	require.Equal(t, routed, described)
}

func TestTheManualNamesEveryRoute(t *testing.T) {
	manual, err := os.ReadFile("../../docs/rest.md")
	require.NoError(t, err)
	for _, row := range newRig(t).server.routes() {
		require.Contains(t, string(manual), "`"+row.method+" "+row.path+"`")
	}
}

// Every answer of the contract's scenarios must be one that the document describes.
func TestAnswersAreAsDocumented(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi)
	require.NoError(t, err)
	for _, sc := range scenarios {
		r := newRig(t)
		if sc.world != nil {
			sc.world(r.world)
		}
		rec := r.do(sc.request, sc.body, sc.headers...)
		method, path, _ := strings.Cut(sc.request, " ")
		path, _, _ = strings.Cut(path, "?")
		item := doc.Paths.Find(documented(doc, path))
		require.NotNil(t, item, path)
		responses := item.GetOperation(method).Responses
		response := responses.Status(rec.Code)
		if response == nil {
			response = responses.Default()
		}
		require.NotNil(t, response, "%s: %d", sc.name, rec.Code)
		var answer any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &answer))
		require.NoError(t, response.Value.Content.Get("application/json").Schema.Value.VisitJSON(answer), sc.name)
	}
}

// documented finds the document's template for a path.
func documented(doc *openapi3.T, path string) string {
	for _, template := range doc.Paths.InMatchingOrder() {
		if regexp.MustCompile(`^` + regexp.MustCompile(`\{\w+\}`).ReplaceAllString(template, `[^/]+`) + `$`).MatchString(path) {
			return template
		}
	}
	return path
}
