// SPDX-License-Identifier: Apache-2.0

package sdktest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// patience bounds every single call that the suite makes.
const patience = 20 * time.Second

// Run runs the suite on the connector that create makes, configured with the JSON
// object with. The configuration must work: what the connector delivers to, a
// server or a folder, has to be there. create is also called in another process, a
// copy of the test binary that runs t alone up to this call; it must not depend on
// what the test did before.
func Run(t *testing.T, create func() sdk.Connector, with json.RawMessage) {
	t.Helper()
	if serving(t) {
		sdk.Serve(create)
		exit()
	}
	t.Run("direct", func(t *testing.T) {
		suite(t, func(*testing.T) sdk.Connector { return create() }, with)
	})
	t.Run("process", func(t *testing.T) {
		name := strings.TrimSuffix(t.Name(), "/process")
		suite(t, func(t *testing.T) sdk.Connector { return spawn(t, name) }, with)
	})
}

// suite checks one way of running the connector.
func suite(t *testing.T, open func(*testing.T) sdk.Connector, with json.RawMessage) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, sdk.Connector, json.RawMessage)
	}{
		{"info is constant and complete", info},
		{"stop is safe without start and twice", stops},
		{"an unknown key is refused", unknownKey},
		{"what is no object is refused", noObject},
		{"every type of event is answered", everyType},
		{"the same event twice is answered twice", twice},
		{"chats run side by side", sideBySide},
		{"a call whose time is over comes back", overdue},
		{"deliver after stop is no success", afterStop},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t), with) })
	}
}

func info(t *testing.T, c sdk.Connector, with json.RawMessage) {
	a := c.Info()
	if a.Type == "" || a.Version == "" || a.Doc == "" {
		t.Errorf("Info leaves type, version or doc empty: %+v", a)
	}
	if a.InFlight < 0 || a.InFlight > sdk.MaxCredit {
		t.Errorf("Info.InFlight is %d, not 0 to %d", a.InFlight, sdk.MaxCredit)
	}
	if len(a.Schema) > 0 && !json.Valid(a.Schema) {
		t.Errorf("Info.Schema is no JSON: %s", a.Schema)
	}
	running(t, c, with)
	if b := c.Info(); !reflect.DeepEqual(a, b) {
		t.Errorf("Info has changed from %+v to %+v", a, b)
	}
}

func stops(t *testing.T, c sdk.Connector, with json.RawMessage) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 2 {
		if err := c.Stop(ctx); err != nil {
			t.Errorf("Stop without Start: %v", err)
		}
	}
	_ = with
}

func unknownKey(t *testing.T, c sdk.Connector, with json.RawMessage) {
	defer stop(t, c)
	var object map[string]json.RawMessage
	if err := json.Unmarshal(with, &object); err != nil {
		t.Fatalf("the suite's configuration is no object: %v", err)
	}
	object["no_such_key_zz"] = json.RawMessage("1")
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if c.Configure(raw) == nil {
		t.Error("Configure takes a key that does not exist: a misspelt one goes unnoticed")
	}
	if err := c.Configure(with); err != nil {
		t.Errorf("Configure after a refused one: %v", err)
	}
}

func noObject(t *testing.T, c sdk.Connector, _ json.RawMessage) {
	defer stop(t, c)
	for _, raw := range []string{`[]`, `"x"`, `{`, `7`} {
		if c.Configure(json.RawMessage(raw)) == nil {
			t.Errorf("Configure takes %s", raw)
		}
	}
}

func everyType(t *testing.T, c sdk.Connector, with json.RawMessage) {
	running(t, c, with)
	for i, e := range samples() {
		r := deliver(t, c, sdk.Delivery{Event: e, Attempt: 1, Ordered: true, Prev: uint64(i)}) //nolint:gosec // small
		switch {
		case e.Type == sdk.TypeMessage && r.Status != sdk.OK:
			t.Errorf("a message (%s) was answered with %s", e.Message.Kind, describe(r))
		case r.Status != sdk.OK && r.Status != sdk.Reject:
			t.Errorf("an event of type %s was answered with %s, and would be tried for days", e.Type, describe(r))
		}
	}
}

func twice(t *testing.T, c sdk.Connector, with json.RawMessage) {
	running(t, c, with)
	for attempt := range 2 {
		d := sdk.Delivery{Event: message("twice", 1), Attempt: attempt + 1, Ordered: true}
		if r := deliver(t, c, d); r.Status != sdk.OK {
			t.Errorf("attempt %d was answered with %s", attempt+1, describe(r))
		}
	}
}

func sideBySide(t *testing.T, c sdk.Connector, with json.RawMessage) {
	running(t, c, with)
	slots := make(chan struct{}, max(1, c.Info().InFlight))
	var wg sync.WaitGroup
	for chat := range 16 {
		wg.Go(func() {
			for seq := uint64(1); seq <= 10; seq++ {
				slots <- struct{}{}
				r := deliver(t, c, sdk.Delivery{Event: message(fmt.Sprint("chat", chat), seq), Attempt: 1, Ordered: true, Prev: seq - 1})
				<-slots
				if r.Status != sdk.OK {
					t.Errorf("chat %d, event %d was answered with %s", chat, seq, describe(r))
				}
			}
		})
	}
	wg.Wait()
}

func overdue(t *testing.T, c sdk.Connector, with json.RawMessage) {
	running(t, c, with)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	back := make(chan sdk.Result, 1)
	go func() { back <- c.Deliver(ctx, sdk.Delivery{Event: message("overdue", 1), Attempt: 1, Ordered: true}) }()
	select {
	case r := <-back:
		if r.Status == sdk.Reject || r.Status == sdk.Disable {
			t.Errorf("a cancelled call was answered with %s, and its event is lost", describe(r))
		}
	case <-time.After(patience):
		t.Fatal("Deliver does not come back though its context has ended")
	}
}

func afterStop(t *testing.T, c sdk.Connector, with json.RawMessage) {
	running(t, c, with)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if r := deliver(t, c, sdk.Delivery{Event: message("late", 1), Attempt: 1, Ordered: true}); r.Status == sdk.OK {
		t.Log("Deliver after Stop was answered with ok: make sure that it did its work")
	} else if r.Status != sdk.Retry {
		t.Errorf("Deliver after Stop was answered with %s, and its event is lost", describe(r))
	}
	if err := c.Stop(ctx); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

// running configures and starts c, and stops it at the end of the test.
func running(t *testing.T, c sdk.Connector, with json.RawMessage) {
	t.Helper()
	t.Cleanup(func() { stop(t, c) })
	if err := c.Configure(with); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel() // Start's context is for starting only: what is kept of it is dead from here on
	if err := c.Start(ctx, newHost()); err != nil {
		t.Fatalf("Start: %v", err)
	}
}

func stop(t *testing.T, c sdk.Connector) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func deliver(t *testing.T, c sdk.Connector, d sdk.Delivery) sdk.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.Deliver(ctx, d)
}

func describe(r sdk.Result) string {
	return fmt.Sprintf("%s (reason %q, code %d, body %q)", r.Status, r.Reason, r.Code, r.Body)
}
