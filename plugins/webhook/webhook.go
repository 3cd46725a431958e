// Package webhook is the built-in connector that posts events to a URL. It owns how
// a request looks, how it is signed and what an answer means; that nothing is lost,
// in which order events go out and when one is tried again is the hub's.
//
// Requests follow Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), so that
// any of its libraries verifies them.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

const (
	version  = "1.0.0"
	inFlight = 16
	// readBody is how much of an answer is read, keepBody how much of that is kept.
	readBody = 64 << 10
	keepBody = 4 << 10
)

// Deps is what the program passes in.
type Deps struct {
	// HTTP makes the requests; its transport guards against forbidden addresses.
	// Redirects are never followed, whatever it says. Required.
	HTTP *http.Client
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Webhook is the connector.
type Webhook struct {
	client http.Client
	now    func() time.Time
	ready  bool
	settings
}

var _ sdk.Connector = (*Webhook)(nil)

// New makes an unconfigured webhook.
func New(deps Deps) *Webhook {
	w := &Webhook{now: deps.Now}
	if deps.HTTP != nil {
		w.client, w.ready = *deps.HTTP, true
	}
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if w.now == nil {
		w.now = time.Now
	}
	return w
}

// Info implements sdk.Connector.
func (w *Webhook) Info() sdk.Info {
	return sdk.Info{
		Type: "webhook", Version: version, InFlight: inFlight,
		Doc: "Posts events to a URL, signed by Standard Webhooks.",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["url"],"properties":{` +
			`"url":{"type":"string","format":"uri","description":"where requests go, http or https"},` +
			`"secret":{"type":"string","description":"whsec_ and base64; several separated by spaces while they rotate"},` +
			`"headers":{"type":"object","additionalProperties":{"type":"string"}},` +
			`"timeout":{"type":"string","default":"20s","description":"1s to 60s"},` +
			`"format":{"enum":["legacy","envelope"],"default":"legacy"}}}`),
	}
}

// Configure implements sdk.Connector. All mistakes are returned, joined.
func (w *Webhook) Configure(with json.RawMessage) error {
	set, err := parse(with)
	if err != nil {
		return err
	}
	w.settings = set
	return nil
}

// Start implements sdk.Connector.
func (w *Webhook) Start(context.Context, sdk.Host) error {
	switch {
	case !w.ready:
		return errors.New("webhook: no HTTP client")
	case w.url == nil:
		return errors.New("webhook: not configured")
	}
	return nil
}

// Stop implements sdk.Connector. The HTTP client belongs to who passed it in.
func (w *Webhook) Stop(context.Context) error { return nil }

// Deliver implements sdk.Connector.
func (w *Webhook) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	if !w.ready || w.url == nil {
		return sdk.Result{Reason: "not_configured"}
	}
	body, err := render(d, w.format)
	if err != nil {
		return sdk.Result{Status: sdk.Reject, Reason: "not_renderable", Body: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return w.failed(err)
	}
	for k, v := range w.headers {
		req.Header[k] = v
	}
	now := w.now()
	stamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Webhook-Id", d.Event.ID)
	req.Header.Set("Webhook-Timestamp", stamp)
	if len(w.keys) > 0 {
		req.Header.Set("Webhook-Signature", Sign(w.keys, d.Event.ID, stamp, body))
	}
	req.Header.Set("X-Wildcat-Event", string(d.Event.Type))
	req.Header.Set("X-Wildcat-Attempt", strconv.Itoa(d.Attempt))
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "Wildcat-Webhook/"+version)
	}

	resp, err := w.client.Do(req)
	if err != nil {
		return w.failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, readErr := io.ReadAll(io.LimitReader(resp.Body, readBody))
	r := classify(resp.StatusCode, resp.Header, w.now())
	r.Body = strings.ToValidUTF8(string(answer[:min(len(answer), keepBody)]), "\uFFFD")
	if r.Status == sdk.OK && readErr != nil {
		// The status says that the receiver has it; what it wrote after that is its own affair.
		r.Reason = "answer_incomplete"
	}
	return r
}
