package simulator_test

import (
	"context"
	"fmt"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// An unmodified whatsmeow client is linked to a simulated phone, and gets a message.
func Example() {
	ctx := context.Background()
	s, _ := simulator.New(simulator.Options{Root: simtest.Root()}) // in memory; a key only where other servers share the process
	defer s.Close()
	_ = s.Start("127.0.0.1:0")
	shop, _ := s.AddPhone("15550001", "Shop")
	ann, _ := s.AddPhone("15550002", "Ann")

	db, _ := sqlstore.New(ctx, "sqlite", "file:example?mode=memory&cache=shared&_pragma=foreign_keys(1)", nil)
	defer db.Close()
	client := whatsmeow.NewClient(db.NewDevice(), nil)
	s.Install(client)
	texts := make(chan string, 1)
	client.AddEventHandler(func(evt any) {
		if m, ok := evt.(*events.Message); ok && !m.Info.IsFromMe { // its own phone writes to it too: keys, history
			texts <- m.Message.GetConversation()
		}
	})
	qr, _ := client.GetQRChannel(ctx)
	_ = client.Connect()
	_, _ = shop.LinkQR(ctx, (<-qr).Code)
	for range qr { // until it is linked
	}

	_, _ = ann.SendText(ctx, "15550001", "hello")
	fmt.Println(<-texts)
	client.Disconnect()
	// Output: hello
}
