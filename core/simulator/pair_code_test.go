package simulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// askForCode makes a client that is not paired show a code for a number.
func (c *client) askForCode(number string) string {
	c.t.Helper()
	code, err := c.PairPhone(simtest.Within(c.t, 30*time.Second), number, true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.NoError(c.t, err)
	require.Regexp(c.t, `^[1-9A-Z]{4}-[1-9A-Z]{4}$`, code)
	return code
}

func TestAClientPairsByCode(t *testing.T) {
	long(t)
	for name, typed := range map[string]func(string) string{
		"as shown":              func(code string) string { return code },
		"without the dash":      func(code string) string { return strings.ReplaceAll(code, "-", "") },
		"in lower case, spaced": func(code string) string { return "  " + strings.ToLower(code) + "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "")
			owner, friend := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
			ctx := simtest.Within(t, 30*time.Second)
			c := newClient(t, s)
			_, shown := c.showCodes()
			code := c.askForCode("+1 555-0001")
			d, err := owner.EnterCode(ctx, typed(code))
			require.NoError(t, err)
			require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
			waitEvent(c, simtest.AnyOf[*events.Connected])
			require.Equal(t, d.JID(), *c.Store.ID)
			c.send("15550002", "by code")
			list, err := friend.WaitReceived(ctx, 1)
			require.NoError(t, err)
			require.Equal(t, "by code", list[0].Text)

			_, err = owner.EnterCode(ctx, code)
			require.ErrorIs(t, err, simulator.ErrCodeUnknown, "a code is good once")
		})
	}
}

func TestAWrongCodeMayBeCorrected(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	ctx := simtest.Within(t, 60*time.Second)
	c := newClient(t, s)
	_, shown := c.showCodes()
	first := c.askForCode("15550001")
	code := c.askForCode("15550001") // a client may ask again; only the newer one counts
	_, err := owner.EnterCode(ctx, first)
	require.ErrorIs(t, err, simulator.ErrCodeWrong)
	_, err = stranger.EnterCode(ctx, code)
	require.ErrorIs(t, err, simulator.ErrCodeUnknown)
	for _, text := range []string{"", "ABCD", "ABCD-EFG", "ABCDEFGH2", "ABCD-EFG0", "AB-CDEFGH", "ABCD_EFGH", "ÄBCDEFG"} {
		_, err = owner.EnterCode(ctx, text)
		require.ErrorIs(t, err, simulator.ErrCode, text)
	}
	_, err = owner.EnterCode(ctx, code)
	require.NoError(t, err)
	require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
	waitEvent(c, simtest.AnyOf[*events.Connected])
}

func TestAMalformedRequestForACodeIsRefused(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	ctx := simtest.Within(t, 30*time.Second)
	c := newClient(t, s)
	c.showCodes()
	for _, name := range []string{"", "Chrome", "chrome (Linux)", "Lynx (Linux)", "Chrome ()", "Chrome (Linux) x"} {
		_, err := c.PairPhone(ctx, "15550001", true, whatsmeow.PairClientChrome, name)
		require.ErrorIs(t, err, whatsmeow.ErrIQBadRequest, name)
	}
	_, err := c.PairPhone(ctx, "15550001", true, whatsmeow.PairClientType(77), "Chrome (Linux)")
	require.ErrorIs(t, err, whatsmeow.ErrIQBadRequest)
	_, err = c.PairPhone(ctx, "15559999", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.ErrorIs(t, err, whatsmeow.ErrIQNotFound)
	c.askForCode("15550001")
}

func TestTheQRIsGoodWhileACodeIsShown(t *testing.T) {
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	ctx := simtest.Within(t, 30*time.Second)
	c := newClient(t, s)
	codes, shown := c.showCodes()
	code := c.askForCode("15550001")
	_, err := owner.LinkQR(ctx, codes[0])
	require.NoError(t, err)
	require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
	waitEvent(c, simtest.AnyOf[*events.Connected])
	_, err = owner.EnterCode(ctx, code)
	require.ErrorIs(t, err, simulator.ErrCodeExpired)
}
