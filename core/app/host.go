package app

import (
	"context"
	"errors"
	"io"

	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// host is what the hub offers to one connector.
type host struct {
	name  string
	sends *send.Queue
	store store.Store
}

var _ sdk.Host = host{}

// Send implements sdk.Host. The reference is the connector's own: two connectors may use the same one.
func (h host) Send(ctx context.Context, ref string, m sdk.Outgoing) (string, error) {
	if ref == "" {
		return "", errors.New("send: a reference is needed, so that a repetition is known as one")
	}
	s, err := h.sends.Enqueue(ctx, send.Request{
		Account: m.Account, To: m.To, Text: m.Text, Mentions: m.Mentions, QuoteID: m.QuoteID,
		Key: "connector/" + h.name + "/" + ref,
	})
	return s.WAID, err
}

// Media implements sdk.Host.
func (h host) Media(ctx context.Context, id string) (io.ReadCloser, error) {
	r, _, err := h.store.OpenBlob(ctx, id)
	return r, err
}

// Get implements sdk.Host.
func (h host) Get(ctx context.Context, key string) ([]byte, bool, error) {
	v, err := h.store.GetKV(ctx, "connector/"+h.name, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return v, err == nil, err
}

// Set implements sdk.Host.
func (h host) Set(ctx context.Context, key string, value []byte) error {
	return h.store.SetKV(ctx, "connector/"+h.name, key, value, 0)
}
