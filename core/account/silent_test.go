package account_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// silent is a WhatsApp that takes the websocket and never answers the handshake. It
// tells of each hello that it got.
func silent(t *testing.T) (url string, hello <-chan struct{}) {
	t.Helper()
	got := make(chan struct{}, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sandbox/root-key" {
			_, _ = fmt.Fprintf(w, `{"root_key":"%x"}`, root)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		for {
			if _, _, err := ws.Read(r.Context()); err != nil {
				return
			}
			got <- struct{}{}
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, got
}

func TestAHandshakeThatIsNeverAnsweredHoldsUpNobody(t *testing.T) {
	for name, end := range map[string]func(*hub) error{
		"disconnect": func(h *hub) error { return h.Disconnect(within(t), "a") },
		"delete":     func(h *hub) error { return h.Delete(within(t), "a") },
		"stop":       func(h *hub) error { return h.Stop(within(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			url, hello := silent(t)
			var err error
			h.network, err = whatsapp.Sandbox(within(t), url, nolog())
			require.NoError(t, err)
			_, err = h.Create(within(t), store.Account{ID: "a"})
			require.NoError(t, err)
			select {
			case <-hello:
			case <-within(t).Done():
				t.Fatal("nothing was dialled")
			}
			h.waitState("a", account.StateConnecting, "")
			start := time.Now()
			require.NoError(t, end(h))
			require.Less(t, time.Since(start), time.Second)
		})
	}
}

func TestAConnectionIsGivenUpAtAnyMoment(t *testing.T) {
	h := newHub(t)
	_, err := h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err)
	for i := range 40 {
		require.NoError(t, h.Connect(within(t), "a"))
		time.Sleep(time.Duration(i) * time.Millisecond / 4) // another moment each time
		start := time.Now()
		require.NoError(t, h.Disconnect(within(t), "a"))
		// The handshake's own patience is 20 s. Where it had just ended, the websocket may wait
		// 5 s for the answer to its goodbye.
		require.Less(t, time.Since(start), 10*time.Second, "round %d", i)
	}
	h.pair("b", "15550001")
}
