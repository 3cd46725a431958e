package webhook

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/sdk"
)

// -update writes the golden files anew.
var update = flag.Bool("update", false, "write golden files")

func textEvent() *sdk.Event {
	at := time.Date(2025, 12, 17, 14, 37, 25, 123e6, time.UTC)
	return &sdk.Event{
		ID: "0123456789abcdef0123456789abcdef", Type: sdk.TypeMessage, Account: "shop", Chat: "919547400579@s.whatsapp.net", Seq: 42, Time: at,
		Message: &sdk.Message{
			ID: "3EB0A1", Chat: "919547400579@s.whatsapp.net", From: "919547400579@s.whatsapp.net", Time: at.Truncate(time.Second),
			Kind: sdk.KindText, Text: "Hello <b> & \"you\" 👋\u2028", Name: "Asha",
			SenderPN: "919547400579@s.whatsapp.net", SenderLID: "12345@lid",
		},
	}
}

func imageEvent() *sdk.Event {
	ev := textEvent()
	ev.Chat = "123-456@g.us"
	ev.Message = &sdk.Message{
		ID: "3EB0A2", Chat: "123-456@g.us", From: "123-456@g.us", Participant: "919547400579@s.whatsapp.net", Time: ev.Time,
		Kind: sdk.KindImage, Text: "a cat", FromMe: true, Forwarded: true, Mentions: []string{"1@s.whatsapp.net"},
		Media: &sdk.Media{ID: "f1", MIME: "image/jpeg", Size: 1234, Status: "pending"},
		Quote: &sdk.Quote{ID: "Q1", Participant: "2@s.whatsapp.net", Text: "which?", HasMedia: true},
	}
	ev.Tags = []string{"sales"}
	return ev
}

func TestBodies(t *testing.T) {
	receipt := &sdk.Event{
		ID: "ff", Type: sdk.TypeReceipt, Account: "shop", Chat: "1@s.whatsapp.net", Seq: 3, Time: textEvent().Time,
		Receipt: &sdk.Receipt{Kind: "read", MessageIDs: []string{"3EB0A1"}, From: "1@s.whatsapp.net"},
	}
	unparsed := &sdk.Event{ID: "ee", Type: sdk.TypeUnparsed, Account: "shop", Seq: 4, Time: textEvent().Time, Raw: []byte(`{"x":1}`)}
	placeholder := textEvent()
	placeholder.Type = sdk.TypeUndecryptable
	for name, c := range map[string]struct {
		d sdk.Delivery
		f Format
	}{
		"legacy_text":        {sdk.Delivery{Event: textEvent(), Attempt: 1, Ordered: true, Prev: 41}, FormatLegacy},
		"legacy_image":       {sdk.Delivery{Event: imageEvent(), Attempt: 7}, FormatLegacy},
		"envelope_image":     {sdk.Delivery{Event: imageEvent(), Attempt: 1, Ordered: true}, FormatEnvelope},
		"receipt":            {sdk.Delivery{Event: receipt, Attempt: 1, Ordered: true, Prev: 2}, FormatLegacy},
		"unparsed":           {sdk.Delivery{Event: unparsed, Attempt: 1, Ordered: true}, FormatLegacy},
		"legacy_undecrypted": {sdk.Delivery{Event: placeholder, Attempt: 1, Ordered: true}, FormatLegacy},
		"account_change":     {sdk.Delivery{Event: &sdk.Event{ID: "aa", Type: sdk.TypeAccount, Account: "shop", Time: textEvent().Time, AccountChange: &sdk.AccountChange{State: "connected"}}, Ordered: true}, FormatLegacy},
		"a_type_of_tomorrow": {sdk.Delivery{Event: &sdk.Event{ID: "bb", Type: "sticker_pack", Account: "shop", Time: textEvent().Time}, Ordered: true}, FormatLegacy},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(c.d, c.f)
			require.NoError(t, err)
			file := filepath.Join("testdata", name+".json")
			if *update {
				require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got)+"\n")
		})
	}
}

func TestDeliveryWithoutEventIsAnErrorNotAPanic(t *testing.T) {
	_, err := render(sdk.Delivery{}, FormatLegacy)
	require.Error(t, err)
}
