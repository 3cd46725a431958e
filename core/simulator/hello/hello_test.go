package hello_test

import (
	"context"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver of whatsmeow's store

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
)

func TestAMessageArrives(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := simulator.New(simulator.Options{}) // in memory
	must(err)
	defer s.Close()
	must(s.Start("127.0.0.1:0"))
	shop, err := s.AddPhone("15550001", "Shop")
	must(err)
	ann, err := s.AddPhone("15550002", "Ann")
	must(err)

	db, err := sqlstore.New(ctx, "sqlite", "file:hello?mode=memory&cache=shared&_pragma=foreign_keys(1)", nil)
	must(err)
	defer db.Close()
	client := whatsmeow.NewClient(db.NewDevice(), nil)
	s.Install(client)
	defer client.Disconnect()
	texts := make(chan string, 1)
	client.AddEventHandler(func(evt any) {
		if m, ok := evt.(*events.Message); ok && !m.Info.IsFromMe { // its own phone writes to it too: keys, history
			texts <- m.Message.GetConversation()
		}
	})
	qr, err := client.GetQRChannel(ctx)
	must(err)
	must(client.Connect())
	_, err = shop.LinkQR(ctx, (<-qr).Code)
	must(err)
	for range qr { // until it is linked
	}

	_, err = ann.SendText(ctx, "15550001", "hello")
	must(err)
	select {
	case text := <-texts:
		if text != "hello" {
			t.Fatalf("got %q", text)
		}
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
	s.Verify(t)
}
