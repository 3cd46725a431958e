package simulator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/keys"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// showCodes connects a client that is not paired and returns all codes that it may show, and
// the channel on which it shows them one by one.
func (c *client) showCodes() ([]string, <-chan whatsmeow.QRChannelItem) {
	c.t.Helper()
	shown, err := c.GetQRChannel(simtest.Within(c.t, 60*time.Second))
	require.NoError(c.t, err)
	require.NoError(c.t, c.Connect())
	codes := waitEvent(c, simtest.AnyOf[*events.QR]).Codes
	require.Len(c.t, codes, 6)
	require.Equal(c.t, codes[0], (<-shown).Code) // whatsmeow closes the channel with no regard to who writes to it
	return codes, shown
}

// last is what a QR channel ends with.
func last(shown <-chan whatsmeow.QRChannelItem) (item whatsmeow.QRChannelItem) {
	for item = range shown {
	}
	return item
}

func TestEachQRCodeExpiresInItsTurn(t *testing.T) {
	long(t)
	s, clock := newServerAt(t)
	owner := simtest.AddPhone(t, s, "15550001")
	ctx := simtest.Within(t, 30*time.Second)
	c := newClient(t, s)
	codes, shown := c.showCodes()
	for i, lasts := range []time.Duration{60, 20, 20, 20, 20} {
		clock.Advance(lasts * time.Second)
		_, err := owner.LinkQR(ctx, codes[i])
		require.ErrorIs(t, err, simulator.ErrQRExpired, i)
	}
	clock.Advance(20*time.Second - 1)
	d, err := owner.LinkQR(ctx, codes[5])
	require.NoError(t, err)
	require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
	waitEvent(c, simtest.AnyOf[*events.Connected])
	clock.Advance(time.Hour) // the timer of codes that were used is harmless
	c.send("15550001", "still there")
	require.True(t, d.Online())
}

func TestAConnectionWhoseCodesRanOutIsEnded(t *testing.T) {
	long(t)
	s, clock := newServerAt(t)
	owner := simtest.AddPhone(t, s, "15550001")
	ctx := simtest.Within(t, 30*time.Second)
	c := newClient(t, s)
	codes, shown := c.showCodes()
	code := c.askForCode("15550001")
	clock.Advance(160*time.Second - 1)
	require.Equal(t, 1, s.Stats().Connections)
	clock.Advance(1)
	require.Equal(t, whatsmeow.QRChannelTimeout, last(shown))
	for _, code := range codes {
		_, err := owner.LinkQR(ctx, code)
		require.ErrorIs(t, err, simulator.ErrQRExpired)
	}
	_, err := owner.EnterCode(ctx, code)
	require.ErrorIs(t, err, simulator.ErrCodeExpired)
	require.Empty(t, owner.Companions())
	c.renew(false) // a new attempt gets new codes
	c.Forget()
	c.pair(owner)
}

func TestAQRIsScannedOnce(t *testing.T) {
	s, clock := newServerAt(t)
	alice, bob := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	ctx := simtest.Within(t, 30*time.Second)
	c := newClient(t, s)
	codes, shown := c.showCodes()
	asked, release := make(chan struct{}), make(chan struct{})
	c.PrePairCallback = func(types.JID, string, string) bool { close(asked); <-release; return true }
	done := make(chan error, 1)
	go func() {
		_, err := alice.LinkQR(ctx, codes[0])
		done <- err
	}()
	<-asked
	for _, code := range codes {
		_, err := bob.LinkQR(ctx, code)
		require.ErrorIs(t, err, simulator.ErrQRExpired)
	}
	clock.Advance(19 * time.Second) // the client may take 20
	close(release)
	require.NoError(t, <-done)
	require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
	require.Empty(t, bob.Companions())
}

func TestAClientRefusesWhatAPhoneSignsWrongly(t *testing.T) {
	long(t)
	for fault, refusal := range map[simulator.LinkFault]struct {
		stanza string
		err    error
	}{
		simulator.LinkWrongHMAC:      {"401 hmac-mismatch", whatsmeow.ErrPairInvalidDeviceIdentityHMAC},
		simulator.LinkWrongSignature: {"401 signature-mismatch", whatsmeow.ErrPairInvalidDeviceSignature},
		simulator.LinkMalformed:      {"500 internal-error", nil},
		"":                           {"500 internal-error", whatsmeow.ErrPairRejectedLocally},
	} {
		t.Run(refusal.stanza+string(fault), func(t *testing.T) {
			s := newServer(t, "")
			owner := simtest.AddPhone(t, s, "15550001")
			ctx := simtest.Within(t, 30*time.Second)
			c := newClient(t, s)
			codes, shown := c.showCodes()
			if fault == "" {
				c.PrePairCallback = func(types.JID, string, string) bool { return false }
			}
			owner.SpoilLink(fault)
			_, err := owner.LinkQR(ctx, codes[0])
			require.ErrorIs(t, err, simulator.ErrPairRefused)
			require.ErrorContains(t, err, refusal.stanza)
			end := last(shown)
			require.Equal(t, whatsmeow.QRChannelEventError, end.Event)
			if refusal.err != nil {
				require.ErrorIs(t, end.Error, refusal.err)
			}
			require.Empty(t, owner.Companions())
			require.Nil(t, c.Store.ID)

			c.renew(false) // only that once
			c.Forget()
			c.pair(owner)
		})
	}
}

func TestAClientThatTakesTooLongToSignIsGivenUp(t *testing.T) {
	s, clock := newServerAt(t)
	owner := simtest.AddPhone(t, s, "15550001")
	ctx := simtest.Within(t, 30*time.Second)
	c := newClient(t, s)
	codes, _ := c.showCodes()
	asked, release := make(chan struct{}), make(chan struct{})
	c.PrePairCallback = func(types.JID, string, string) bool { close(asked); <-release; return false }
	defer close(release)
	linked := make(chan error, 1)
	go func() {
		_, err := owner.LinkQR(ctx, codes[0])
		linked <- err
	}()
	<-asked
	var err error
	require.Eventually(t, func() bool { // the client may be asked before the server begins to wait
		clock.Advance(20 * time.Second)
		select {
		case err = <-linked:
			return true
		default:
			return false
		}
	}, 20*time.Second, 20*time.Millisecond)
	require.ErrorIs(t, err, simulator.ErrPairRefused)
	require.ErrorContains(t, err, "took too long")
	require.Empty(t, owner.Companions())
}

// The device's identity key is half exchanged, after the client sent the right public half: what
// it signs does not belong to what it registered.
func TestAPhoneRefusesAClientThatSignsWrongly(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	ctx := simtest.Within(t, 30*time.Second)
	_, other := paired(t, s, owner)
	c := newClient(t, s)
	codes, _ := c.showCodes()
	c.Store.IdentityKey = &keys.KeyPair{Pub: c.Store.IdentityKey.Pub, Priv: keys.NewKeyPair().Priv}
	_, err := owner.LinkQR(ctx, codes[0])
	require.ErrorIs(t, err, simulator.ErrPairRefused)
	require.True(t, waitEvent(c, simtest.AnyOf[*events.LoggedOut]).OnConnect)
	require.Equal(t, []*simulator.Device{other}, owner.Companions())
	require.Nil(t, s.Device("15550001:2@s.whatsapp.net"))
	_, err = friend.SendText(ctx, "15550001", "not to the refused one")
	require.NoError(t, err)
	require.NoError(t, other.WaitDrained(ctx))
}
