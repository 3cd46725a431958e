package simulator

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/gcmutil"
)

// invariantServer is a server with one phone that has sent another, companion, one ciphertext.
func invariantServer(t *testing.T) (*Server, *Device, *Device) {
	t.Helper()
	s, err := New(Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	a, err := s.AddPhone("15550001", "a")
	require.NoError(t, err)
	b, err := s.AddPhone("15550002", "b")
	require.NoError(t, err)
	return s, a.dev, b.dev
}

func TestACounterThatComesBackWithOtherBytesIsAViolation(t *testing.T) {
	s, from, to := invariantServer(t)
	p := to.acct.phone
	keys, err := p.issueBundle()
	require.NoError(t, err)
	store := from.acct.phone.store
	encrypt := func(text string) []byte {
		out, _, err := store.encrypt(to, []byte(text), false, func() (*bundle, error) { return keys, nil })
		require.NoError(t, err)
		return out
	}
	first := encrypt("first")
	address := addressOf(to).String()
	saved := store.sessions[address].Serialize()
	second := encrypt("second")
	s.watchCipher(from, to, "1", first)
	s.watchCipher(from, to, "2", second)
	s.watchCipher(from, to, "2", second)
	require.Empty(t, s.Violations(), "the same frame again is what a reconnect does")
	s.watchCipher(from, to, "3", second)
	require.Len(t, s.Violations(), 1, "under another id")
	require.NoError(t, store.load(address, saved)) // an old backup
	s.watchCipher(from, to, "4", encrypt("third"))
	require.Len(t, s.Violations(), 2)
	require.Contains(t, s.Violations()[1].String(), "ciphertext counter repeated")
}

func TestASenderKeyThatGoesBackIsAViolation(t *testing.T) {
	s, from, _ := invariantServer(t)
	chat := types.NewJID("120363000000000000", types.GroupServer)
	store := from.acct.phone.store
	_, err := store.shareKey(chat.String(), from)
	require.NoError(t, err)
	encrypt := func(text string) []byte {
		out, err := store.encryptForMany(chat.String(), from, []byte(text))
		require.NoError(t, err)
		return out
	}
	first := encrypt("first")
	path := senderKeyPath(senderKeyName(chat.String(), from))
	saved := store.senders.records[path]
	second := encrypt("second")
	s.watchSenderKey(from, chat, "1", first)
	s.watchSenderKey(from, chat, "2", second)
	s.watchSenderKey(from, chat, "2", second)
	require.Empty(t, s.Violations(), "the same frame again is what a reconnect does")
	s.watchSenderKey(from, chat, "3", second)
	require.Len(t, s.Violations(), 1, "under another id")
	store.loadSenderKey(path, saved) // an old backup
	s.watchSenderKey(from, chat, "4", encrypt("third"))
	require.Len(t, s.Violations(), 2)
	require.Contains(t, s.Violations()[1].String(), "sender key iteration repeated")
	store.dropKey(chat.String(), from)
	_, err = store.shareKey(chat.String(), from)
	require.NoError(t, err)
	s.watchSenderKey(from, chat, "5", encrypt("with another key"))
	require.Len(t, s.Violations(), 2)
	s.watchSenderKey(from, chat, "6", []byte("no ciphertext"))
	require.Len(t, s.Violations(), 2)
}

func TestAPrekeyIsNeverIssuedTwiceEvenIfUploadedAgain(t *testing.T) {
	s, phone, _ := invariantServer(t)
	d := newCompanion(phone.acct, deviceRecord{ID: 1})
	ids, pubs := []uint32{1, 2, 3}, [][32]byte{{1}, {2}, {3}}
	require.NoError(t, d.prekeys.upload(d, ids, pubs))
	id, _, left, ok, err := d.prekeys.issue(d)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 1, id)
	require.Equal(t, 2, left)
	require.NoError(t, d.prekeys.upload(d, ids, pubs))
	require.Equal(t, 2, d.PreKeys())
	// Should the stock ever hold an issued key, the server reports itself.
	d.prekeys.stock = append(d.prekeys.stock, 1)
	for range 3 {
		_, _, _, _, err = d.prekeys.issue(d)
		require.NoError(t, err)
	}
	require.Len(t, s.Violations(), 1)
	require.Contains(t, s.Violations()[0].Rule, "prekey issued twice")
}

func TestAnEntryThatIsReleasedTwiceIsAViolation(t *testing.T) {
	s, d, _ := invariantServer(t)
	e := newEntry(1, streamError(503))
	d.mu.Lock()
	d.insert(e)
	d.release(e)
	require.Empty(t, s.Violations())
	d.release(e)
	d.mu.Unlock()
	require.Len(t, s.Violations(), 1)
}

func TestAPhonesPrekeyIsNeverIssuedTwiceEither(t *testing.T) {
	s, phone, _ := invariantServer(t)
	p := phone.acct.phone
	for range 3 {
		_, err := p.issueBundle()
		require.NoError(t, err)
	}
	require.Empty(t, s.Violations())
	keys, err := p.issueBundle()
	require.NoError(t, err)
	s.watchPreKey(phone, keys.oneTimeID, keys.oneTime) // as a bundle that is handed out from a cache would be
	require.Len(t, s.Violations(), 1)
	require.Contains(t, s.Violations()[0].Rule, "prekey issued twice")
}

func TestAPrekeyThatWasIssuedBeforeARestartIsKnownAfterIt(t *testing.T) {
	dir := t.TempDir()
	s, err := New(Options{Dir: dir})
	require.NoError(t, err)
	a, err := s.AddPhone("15550001", "a")
	require.NoError(t, err)
	d := newCompanion(a.acct, deviceRecord{ID: 1})
	b := s.begin()
	b.putJSON(d.key("d"), d.rec)
	require.NoError(t, s.journal.commit(b))
	require.NoError(t, d.prekeys.upload(d, []uint32{1, 2}, [][32]byte{{1}, {2}}))
	_, _, _, _, err = d.prekeys.issue(d)
	require.NoError(t, err)
	require.NoError(t, s.Close())

	s, err = New(Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	d = s.Device("15550001:1@s.whatsapp.net")
	require.Equal(t, 1, d.PreKeys())
	d.prekeys.stock = append([]uint32{1}, d.prekeys.stock...) // as if the mark had been lost
	_, _, _, _, err = d.prekeys.issue(d)
	require.NoError(t, err)
	require.Len(t, s.Violations(), 1)
}

func TestAQueueThatDisagreesWithItsCountsOrTheJournalFailsTheAudit(t *testing.T) {
	s, err := New(Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	a, err := s.AddPhone("15550001", "a")
	require.NoError(t, err)
	d := newCompanion(a.acct, deviceRecord{ID: 1})
	a.acct.devices[1] = d
	for range 2 {
		o := s.outgoing(s.begin())
		o.lowStock(d, 1)
		require.NoError(t, o.commit())
	}
	require.NoError(t, s.Audit())
	e := d.queue[0]
	d.mu.Lock()
	d.release(e) // past the journal: it would come again after a restart
	d.mu.Unlock()
	require.ErrorContains(t, s.Audit(), "is in the journal and in no queue")
	b := s.begin()
	b.del(d.entryKey(e.seq))
	b.del(d.entryKey(d.queue[0].seq)) // gone from the journal only: it would be lost
	require.NoError(t, s.journal.commit(b))
	require.ErrorContains(t, s.Audit(), "is in a queue and not in the journal")
	d.waiting++
	require.ErrorContains(t, s.Audit(), "1 entries wait, 2 are counted")
	d.waiting--
	d.queue[0].released = true
	require.ErrorContains(t, s.Audit(), "can still be acknowledged")
}

func TestAStanzaOnAReplacedConnectionIsAViolation(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	ended := make(chan *conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		cipher, _ := gcmutil.Prepare(make([]byte, 32))
		c := &conn{s: s, ws: ws, wake: make(chan struct{}, 1), gone: make(chan struct{}), peer: peer{in: cipher, out: cipher}}
		close(c.gone) // it lingers for nobody
		c.pushNow(streamError(503))
		c.end(true, streamError(409))
		c.pushNow(streamError(515)) // what is guarded does nothing
		c.writeLoop()
		ended <- c
	}))
	t.Cleanup(srv.Close)
	ws, resp, err := websocket.Dial(t.Context(), srv.URL, nil)
	require.NoError(t, err)
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	c := <-ended
	require.Empty(t, s.Violations())
	require.EqualValues(t, 1, c.outCount, "the last word only")
	_, _ = c.write(nil, []waBinary.Node{streamError(515)}) // past the guard
	require.Len(t, s.Violations(), 1)
	require.Equal(t, "sent on an ended connection", s.Violations()[0].Rule)
}
