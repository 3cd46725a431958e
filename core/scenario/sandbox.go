package scenario

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Sandbox is the control API of `wildcat sandbox`.
type Sandbox struct{ client }

// NewSandbox talks to the sandbox at a base URL.
func NewSandbox(base string) *Sandbox { return &Sandbox{newClient(base)} }

// Received is one message as a phone shows it.
type Received struct {
	N    int    `json:"n"`
	ID   string `json:"id"`
	Chat string `json:"chat"`
	From string `json:"from"`
	Text string `json:"text"`
	// Copies counts how often the message came; the phone shows it once.
	Copies int `json:"copies"`
}

// Outgoing is one text that a phone sends.
type Outgoing struct {
	From string `json:"from"`
	To   string `json:"to"`
	Text string `json:"text"`
}

// AddPhone creates a number.
func (s *Sandbox) AddPhone(ctx context.Context, number, name string) error {
	return s.do(ctx, http.MethodPost, "/sandbox/phones", map[string]string{"number": number, "name": name}, nil)
}

// Scan has a phone scan a QR code.
func (s *Sandbox) Scan(ctx context.Context, number, qr string) error {
	return s.do(ctx, http.MethodPost, "/sandbox/phones/"+number+"/scan", map[string]string{"qr": qr}, nil)
}

// Send has a phone write a text.
func (s *Sandbox) Send(ctx context.Context, from, to, text string) (id string, err error) {
	var out struct {
		ID string `json:"id"`
	}
	err = s.do(ctx, http.MethodPost, "/sandbox/phones/"+from+"/send", map[string]string{"to": to, "text": text}, &out)
	return out.ID, err
}

// SendBatch has phones write many texts, in order.
func (s *Sandbox) SendBatch(ctx context.Context, batch []Outgoing) error {
	return s.do(ctx, http.MethodPost, "/sandbox/send-batch", map[string]any{"messages": batch}, nil)
}

// Received returns what a phone shows, oldest first.
func (s *Sandbox) Received(ctx context.Context, number string) ([]Received, error) {
	var out struct {
		Messages []Received `json:"messages"`
	}
	err := s.do(ctx, http.MethodGet, "/sandbox/phones/"+number+"/received", nil, &out)
	return out.Messages, err
}

// Violations returns which of the sandbox's own invariants were broken.
func (s *Sandbox) Violations(ctx context.Context) ([]string, error) {
	var out struct {
		Violations []string `json:"violations"`
	}
	err := s.do(ctx, http.MethodGet, "/sandbox/invariants", nil, &out)
	return out.Violations, err
}

// Replaced is how many connections ended because the same device logged in once more.
func (s *Sandbox) Replaced(ctx context.Context) (int, error) {
	var out struct {
		Replaced int `json:"replaced"`
	}
	err := s.do(ctx, http.MethodGet, "/sandbox/stats", nil, &out)
	return out.Replaced, err
}

// Hub is the REST API of `wildcat serve`.
type Hub struct{ client }

// NewHub talks to the hub at a base URL.
func NewHub(base string) *Hub { return &Hub{newClient(base)} }

// Message is a row of GET /messages, as far as it is checked.
type Message struct {
	MessageID string `json:"messageId"`
	EventID   string `json:"eventId"`
	ChatID    string `json:"chatId"`
	FromMe    bool   `json:"fromMe"`
	Text      string `json:"text"`
}

// CreateAccount creates an account.
func (h *Hub) CreateAccount(ctx context.Context, id string) error {
	return h.do(ctx, http.MethodPost, "/accounts", map[string]string{"id": id}, nil)
}

// Status returns an account's status and, while it pairs, its QR code.
func (h *Hub) Status(ctx context.Context, id string) (status, qr string, err error) {
	var out struct {
		Status string  `json:"status"`
		QR     *string `json:"qr"`
	}
	err = h.do(ctx, http.MethodGet, "/accounts/"+id+"/status", nil, &out)
	if out.QR != nil {
		qr = *out.QR
	}
	return out.Status, qr, err
}

// AddWebhook registers a webhook and returns its secret.
func (h *Hub) AddWebhook(ctx context.Context, target string) (secret string, err error) {
	var out struct {
		Secret string `json:"secret"`
	}
	err = h.do(ctx, http.MethodPost, "/webhooks", map[string]string{"url": target}, &out)
	return out.Secret, err
}

// Messages returns all stored messages of an account.
func (h *Hub) Messages(ctx context.Context, account string) ([]Message, error) {
	var all []Message
	for {
		var page struct {
			Messages   []Message `json:"messages"`
			Pagination struct {
				HasMore bool `json:"hasMore"`
			} `json:"pagination"`
		}
		q := url.Values{"limit": {"500"}, "skip": {strconv.Itoa(len(all))}, "accountId": {account}}
		if err := h.do(ctx, http.MethodGet, "/messages?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Messages...)
		if !page.Pagination.HasMore || len(page.Messages) == 0 {
			return all, nil
		}
	}
}

// Trace is what became of one message, as far as it is checked.
type Trace struct {
	Stages []struct {
		Stage string `json:"stage"`
	} `json:"stages"`
	Sends []struct {
		MessageID string `json:"messageId"`
		State     string `json:"state"`
		Attempt   int    `json:"attempt"`
	} `json:"sends"`
	Deliveries []struct {
		Endpoint string `json:"endpoint"`
		State    string `json:"state"`
	} `json:"deliveries"`
}

// Trace returns what became of an event.
func (h *Hub) Trace(ctx context.Context, eventID string) (Trace, error) {
	var t Trace
	err := h.do(ctx, http.MethodGet, "/v1/events/"+eventID+"/trace", nil, &t)
	return t, err
}

// Metric returns the sum of a metric's samples whose line begins with prefix, such
// as `wildcat_sends_total{result="repeated"}`; 0 if there is none.
func (h *Hub) Metric(ctx context.Context, prefix string) (float64, error) {
	var text string
	if err := h.do(ctx, http.MethodGet, "/metrics", nil, &text); err != nil {
		return 0, err
	}
	return sumMetric(text, prefix)
}

// Get fetches a path and decodes the answer into out.
func (h *Hub) Get(ctx context.Context, path string, out any) error {
	return h.do(ctx, http.MethodGet, path, nil, out)
}

// Pair creates the account, waits for its QR code, has the phone scan it, and waits
// until the account is connected.
func Pair(ctx context.Context, h *Hub, s *Sandbox, account, number string) error {
	if err := h.CreateAccount(ctx, account); err != nil {
		return err
	}
	return Scan(ctx, h, s, account, number)
}

// Scan links an account that is pairing to a phone, and waits until it is connected.
func Scan(ctx context.Context, h *Hub, s *Sandbox, account, number string) error {
	var qr string
	err := Until(ctx, pairTimeout, func() error {
		status, code, err := h.Status(ctx, account)
		if err != nil {
			return err
		}
		if code == "" {
			return fmt.Errorf("no QR code yet, the account is %s", status)
		}
		qr = code
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.Scan(ctx, number, qr); err != nil {
		return err
	}
	return WaitConnected(ctx, h, account)
}

// WaitConnected waits until an account is connected.
func WaitConnected(ctx context.Context, h *Hub, account string) error {
	return Until(ctx, pairTimeout, func() error {
		status, _, err := h.Status(ctx, account)
		if err != nil {
			return err
		}
		if status != "connected" {
			return fmt.Errorf("account %s is %s", account, status)
		}
		return nil
	})
}

// Holder is the URL of the hub that holds an account, of those that share the database; ""
// for none.
func (h *Hub) Holder(ctx context.Context, account string) (string, error) {
	list, err := h.Hubs(ctx)
	if err != nil {
		return "", err
	}
	for _, hub := range list {
		if slices.Contains(hub.Accounts, account) {
			return hub.URL, nil
		}
	}
	return "", nil
}

// Holding is a hub of those that share the database, and what it holds.
type Holding struct {
	URL        string   `json:"url"`
	Accounts   []string `json:"accounts"`
	Partitions []int    `json:"partitions"`
}

// Hubs are the hubs that share the database.
func (h *Hub) Hubs(ctx context.Context) ([]Holding, error) {
	var out struct {
		Hubs []Holding `json:"hubs"`
	}
	if err := h.do(ctx, http.MethodGet, "/v1/hubs", nil, &out); err != nil {
		return nil, err
	}
	return out.Hubs, nil
}
