package simulator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types"
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
