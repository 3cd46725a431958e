package simulator_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func fault(t testing.TB, s *simulator.Server, f simulator.Fault) *simulator.FaultRule {
	t.Helper()
	r, err := s.AddFault(f)
	require.NoError(t, err)
	return r
}

// faulty is a paired client in the configuration that loses nothing, with a stranger to
// write to and from.
func faulty(t *testing.T) (*simulator.Server, *client, *simulator.Device, *simulator.Phone) {
	t.Helper()
	s := newServer(t, "")
	s.Trace().Enable(1000)
	owner, stranger := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	c, d := paired(t, s, owner)
	c.reopen(d, true)
	return s, c, d, stranger
}

// reopen puts a new client in place of the connected one.
func (c *client) reopen(d *simulator.Device, safe bool) {
	c.t.Helper()
	c.Disconnect()
	require.NoError(c.t, d.WaitOffline(simtest.Within(c.t, 10*time.Second)))
	c.renew(safe)
	c.Forget()
	require.NoError(c.t, c.Connect())
	waitEvent(c, simtest.AnyOf[*events.Connected])
}

func (c *client) trySend(to, text, id string, timeout time.Duration) error {
	_, err := c.SendMessage(simtest.Within(c.t, 30*time.Second), types.NewJID(to, types.DefaultUserServer),
		&waE2E.Message{Conversation: proto.String(text)}, whatsmeow.SendRequestExtra{ID: id, Timeout: timeout})
	return err
}

func TestAMessageRefusedByTheHandlerIsLostWithoutTheEventBufferOnly(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		t.Run(fmt.Sprint("buffered ", buffered), func(t *testing.T) {
			_, c, d, stranger := faulty(t)
			ctx := simtest.Within(t, 30*time.Second)
			var refused atomic.Int32
			c.EnableDecryptedEventBuffer = buffered
			c.Lock()
			c.refuse = func(*events.Message) bool { return refused.Add(1) > 0 }
			c.Unlock()
			_, err := stranger.SendText(ctx, "15550001", "refused")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return refused.Load() == 1 }, 10*time.Second, time.Millisecond)
			require.Equal(t, 1, d.Pending())
			c.Lock()
			c.refuse = nil
			c.Unlock()
			c.reopen(d, buffered)
			require.NoError(t, d.WaitDrained(ctx))
			_, err = stranger.SendText(ctx, "15550001", "after")
			require.NoError(t, err)
			if buffered {
				require.Equal(t, []string{"refused", "after"}, c.waitTexts(2))
			} else {
				require.Equal(t, []string{"after"}, c.waitTexts(1))
			}
		})
	}
}

func TestAnAcknowledgementThatIsWithheldTimesOutThoughTheMessageArrived(t *testing.T) {
	s, c, _, stranger := faulty(t)
	r := fault(t, s, simulator.Fault{Action: simulator.FaultDrop, Direction: simulator.Out, Tag: "ack", Class: "message", Times: 1})
	require.ErrorIs(t, c.trySend("15550002", "hello", "3EB0AA", 500*time.Millisecond), whatsmeow.ErrMessageTimedOut)
	require.Equal(t, 1, r.Hits())
	require.NoError(t, c.trySend("15550002", "hello", "3EB0AA", 0))
	m, err := stranger.WaitMessage(simtest.Within(t, 10*time.Second), func(m simulator.Message) bool { return m.Copies == 2 })
	require.NoError(t, err)
	require.Equal(t, "hello", m.Text)
}

func TestAMessageAcknowledgedWithAnErrorReachesNobody(t *testing.T) {
	s, c, _, stranger := faulty(t)
	r := fault(t, s, simulator.Fault{Action: simulator.FaultAckError, Device: "15550001", Code: 479})
	err := c.trySend("15550002", "refused", "3EB0AA", 0)
	require.ErrorIs(t, err, whatsmeow.ErrServerReturnedError)
	require.ErrorContains(t, err, "479")
	r.Remove()
	require.NoError(t, c.trySend("15550002", "taken", "3EB0AB", 0))
	list, err := stranger.WaitReceived(simtest.Within(t, 10*time.Second), 1)
	require.NoError(t, err)
	require.Equal(t, "taken", list[0].Text)
}

func TestAQueryIsAnsweredWithTheErrorThatARuleNames(t *testing.T) {
	s, c, _, _ := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	fault(t, s, simulator.Fault{Action: simulator.FaultIQError, XMLNS: "usync", Code: 429, Text: "rate-overlimit", Nth: 2})
	_, err := c.IsOnWhatsApp(ctx, []string{"+15550002"})
	require.NoError(t, err)
	_, err = c.IsOnWhatsApp(ctx, []string{"+15550002"})
	require.ErrorIs(t, err, whatsmeow.ErrIQRateOverLimit)
	_, err = c.IsOnWhatsApp(ctx, []string{"+15550002"})
	require.NoError(t, err, "the second only")
}

func TestAMessageDeliveredTwiceIsHandledOnce(t *testing.T) {
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	var handled atomic.Int32
	c.Lock()
	c.refuse = func(*events.Message) bool { handled.Add(1); return false }
	c.Unlock()
	late := s.Stats().LateAcks
	r := fault(t, s, simulator.Fault{Action: simulator.FaultDuplicate, Direction: simulator.Out, Tag: "message", Copies: 2})
	for i := range 3 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"0", "1", "2"}, c.waitTexts(3))
	require.NoError(t, d.WaitDrained(ctx))
	require.Eventually(t, func() bool { return s.Stats().LateAcks >= late+6 }, 10*time.Second, time.Millisecond,
		"each copy is acknowledged too")
	require.EqualValues(t, 3, handled.Load())
	require.Equal(t, 3, r.Hits())
}

func TestMessagesThatArriveInAnotherOrderAreStillRead(t *testing.T) {
	long(t)
	for order, want := range map[simulator.Order][]string{
		simulator.Reversed: {"4", "3", "2", "1", "0"}, simulator.AsHeld: {"0", "1", "2", "3", "4"}, simulator.Shuffled: nil,
	} {
		t.Run(string(order), func(t *testing.T) {
			s, c, d, stranger := faulty(t)
			ctx := simtest.Within(t, 20*time.Second)
			r := fault(t, s, simulator.Fault{Action: simulator.FaultHold, Direction: simulator.Out, Tag: "message", Seed: 3})
			for i := range 5 {
				_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
				require.NoError(t, err)
			}
			require.Equal(t, 5, r.Held())
			require.Equal(t, 5, r.Release(order))
			got := c.waitTexts(5)
			if want == nil {
				require.NotEqual(t, []string{"0", "1", "2", "3", "4"}, got)
				require.ElementsMatch(t, []string{"0", "1", "2", "3", "4"}, got)
			} else {
				require.Equal(t, want, got)
			}
			require.NoError(t, d.WaitDrained(ctx))
		})
	}
}

func TestARuleReleasesByItselfAtANumberAndWhenItIsRemoved(t *testing.T) {
	s, c, _, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	r := fault(t, s, simulator.Fault{
		Action: simulator.FaultHold, Direction: simulator.Out, Tag: "message", ReleaseAt: 2, Order: simulator.Reversed,
	})
	for i := range 3 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"1", "0"}, c.waitTexts(2))
	require.Equal(t, 1, r.Held())
	r.Remove()
	r.Remove()
	require.Equal(t, []string{"1", "0", "2"}, c.waitTexts(3))
	require.Empty(t, s.Faults())
	_, err := stranger.SendText(ctx, "15550001", "3")
	require.NoError(t, err)
	c.waitTexts(4)
}

func TestClientsStanzasAreHeldAndDelayedToo(t *testing.T) {
	long(t)
	s, c, _, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	hold := fault(t, s, simulator.Fault{Action: simulator.FaultHold, Direction: simulator.In, Tag: "message", Times: 2})
	delay := fault(t, s, simulator.Fault{Action: simulator.FaultDelay, Direction: simulator.In, Tag: "message", DelayMS: 30})
	for i := range 2 {
		require.ErrorIs(t, c.trySend("15550002", fmt.Sprint(i), "", 100*time.Millisecond), whatsmeow.ErrMessageTimedOut)
	}
	start := time.Now()
	require.NoError(t, c.trySend("15550002", "2", "", 0))
	require.GreaterOrEqual(t, time.Since(start), 30*time.Millisecond)
	require.Equal(t, 1, delay.Hits())
	require.Equal(t, 2, hold.Release(simulator.Reversed))
	list, err := stranger.WaitReceived(ctx, 3)
	require.NoError(t, err)
	require.Equal(t, []string{"2", "1", "0"}, []string{list[0].Text, list[1].Text, list[2].Text})
}

func TestWhatARemovedFaultDelayedComesAtOnceAndInItsOrder(t *testing.T) {
	long(t)
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	delay := fault(t, s, simulator.Fault{Action: simulator.FaultDelay, Direction: simulator.Out, Tag: "message", DelayMS: 600_000})
	for i := range 3 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return delay.Hits() == 3 }, 10*time.Second, time.Millisecond)
	delay.Remove()
	require.Equal(t, []string{"0", "1", "2"}, c.waitTexts(3))
	require.NoError(t, d.WaitDrained(ctx))

	_, err := s.AddFault(simulator.Fault{Action: simulator.FaultDelay, Direction: simulator.Out, DelayMS: 600_001})
	require.ErrorContains(t, err, "delay_ms 600001")
}

func TestADelayedMessageComesLaterThanTheNext(t *testing.T) {
	long(t)
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	fault(t, s, simulator.Fault{Action: simulator.FaultDelay, Direction: simulator.Out, Tag: "message", Nth: 1, DelayMS: 200})
	for i := range 3 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"1", "2", "0"}, c.waitTexts(3))
	// All delayed alike keep their order, also beside a connection that ends meanwhile.
	s.ClearFaults()
	fault(t, s, simulator.Fault{Action: simulator.FaultDelay, Direction: simulator.Out, Tag: "message", DelayMS: 20})
	for i := range 20 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint("then ", i))
		require.NoError(t, err)
	}
	got := c.waitTexts(23)[3:]
	for i := range 20 {
		require.Equal(t, fmt.Sprint("then ", i), got[i])
	}
	_, err := stranger.SendText(ctx, "15550001", "lost with the connection, and sent again")
	require.NoError(t, err)
	d.Cut()
	c.waitTexts(24)
	require.NoError(t, d.WaitDrained(ctx))
}

func TestADroppedReceiptBringsTheMessageBackAndItIsHandledOnce(t *testing.T) {
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	r := fault(t, s, simulator.Fault{Action: simulator.FaultDrop, Direction: simulator.In, Tag: "receipt", Times: 1})
	_, err := stranger.SendText(ctx, "15550001", "hello")
	require.NoError(t, err)
	c.waitTexts(1)
	require.Eventually(t, func() bool { return r.Hits() == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, d.Pending())
	sent := s.Stats().Sent
	d.Cut()
	require.NoError(t, d.WaitDrained(ctx))
	require.Equal(t, sent+1, s.Stats().Sent)
	_, err = stranger.SendText(ctx, "15550001", "more")
	require.NoError(t, err)
	require.Equal(t, []string{"hello", "more"}, c.waitTexts(2))
}

func TestADroppedMessageComesAgainAfterTheNextLogin(t *testing.T) {
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 20*time.Second)
	fault(t, s, simulator.Fault{Action: simulator.FaultDrop, Direction: simulator.Out, Tag: "message", Nth: 1})
	for i := range 2 {
		_, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(t, err)
	}
	require.Equal(t, []string{"1"}, c.waitTexts(1))
	d.Cut()
	require.Equal(t, []string{"1", "0"}, c.waitTexts(2))
	require.NoError(t, d.WaitDrained(ctx))
}

func TestACorruptCiphertextIsAskedForAgainAndSentAgain(t *testing.T) {
	long(t)
	for name, f := range map[string]simulator.Fault{
		"corrupt": {Mutation: "corrupt-ciphertext"}, "truncated": {Mutation: "truncate-ciphertext"},
	} {
		f.Action, f.Tag, f.Times = simulator.FaultMutate, "message", 1
		t.Run(name+" to a client", func(t *testing.T) {
			s, c, d, stranger := faulty(t)
			ctx := simtest.Within(t, 20*time.Second)
			f.Direction = simulator.Out
			for i := range 2 { // a first message, then one of an open session
				fault(t, s, f)
				id, err := stranger.SendText(ctx, "15550001", fmt.Sprint(i))
				require.NoError(t, err)
				got := waitEvent(c, func(u *events.UndecryptableMessage) bool { return u.Info.ID == id })
				require.False(t, got.IsUnavailable)
				_, err = s.WaitStanza(ctx, func(st simulator.Stanza) bool {
					return st.Direction == simulator.In && st.Tag == "receipt" && st.ID == id && st.Node.Attrs["type"] == "retry"
				})
				require.NoError(t, err)
				c.waitTexts(i + 1)
				c.send("15550002", "so that the session is established both ways")
			}
			require.Equal(t, []string{"0", "1"}, c.waitTexts(2))
			require.NoError(t, d.WaitDrained(ctx))
		})
		t.Run(name+" from a client", func(t *testing.T) {
			s, c, _, stranger := faulty(t)
			ctx := simtest.Within(t, 20*time.Second)
			f.Direction = simulator.In
			f.Device = "15550001"
			for i := range 2 {
				fault(t, s, f)
				c.send("15550002", fmt.Sprint(i))
				list, err := stranger.WaitReceived(ctx, i+1)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(i), list[i].Text)
				_, err = s.WaitStanza(ctx, func(st simulator.Stanza) bool {
					return st.Direction == simulator.Out && st.Tag == "receipt" && st.ID == list[i].ID && st.Node.Attrs["type"] == "retry"
				})
				require.NoError(t, err)
				// Its own phone's copy was spoiled too, and is sent again: not by the next fault's doing.
				waitEvent(c, func(r *events.Receipt) bool {
					return r.MessageIDs[0] == list[i].ID && r.Type == types.ReceiptTypeSender
				})
			}
		})
	}
}

func TestAMutationMayBeAFunction(t *testing.T) {
	long(t)
	s, c, _, stranger := faulty(t)
	fault(t, s, simulator.Fault{
		Action: simulator.FaultMutate, Direction: simulator.Out, Tag: "message",
		Mutate: func(n *simulator.Node) { n.Attrs["notify"] = "Somebody else" },
	})
	fault(t, s, simulator.Fault{ // one that nothing can encode is not made
		Action: simulator.FaultMutate, Direction: simulator.Out, Tag: "message",
		Mutate: func(n *simulator.Node) { n.Attrs["x"] = struct{}{} },
	})
	_, err := stranger.SendText(simtest.Within(t, 10*time.Second), "15550001", "hello")
	require.NoError(t, err)
	require.Equal(t, []string{"hello"}, c.waitTexts(1))
	require.Equal(t, "Somebody else", c.messages[0].Info.PushName)
}

func TestACutAfterAMessageMakesTheClientSendItAgain(t *testing.T) {
	long(t)
	for _, row := range []struct {
		action      simulator.FaultAction
		deduplicate bool
		copies      int
	}{
		{simulator.FaultCutAfter, false, 2},
		{simulator.FaultCutAfter, true, 1},
		{simulator.FaultCutBefore, false, 1},
	} {
		t.Run(fmt.Sprint(row.action, " ", row.deduplicate), func(t *testing.T) {
			s, c, d, stranger := faulty(t)
			cut := simulator.Fault{Action: row.action, Direction: simulator.In, Tag: "message", Times: 1}
			if row.deduplicate {
				r := fault(t, s, simulator.Fault{Action: simulator.FaultDeduplicate})
				// The rule cuts at the second rule's doing: what it remembers is what was handled.
				defer func() { require.Equal(t, 1, r.Hits()) }()
			}
			fault(t, s, cut)
			c.send("15550002", "hello") // whatsmeow sends the same frame after it is back
			require.EqualValues(t, 3, d.Logins())
			m, err := stranger.WaitMessage(simtest.Within(t, 10*time.Second), func(m simulator.Message) bool { return m.Copies == row.copies })
			require.NoError(t, err)
			require.Equal(t, "hello", m.Text)
			c.send("15550002", "the end")
			list, err := stranger.WaitReceived(simtest.Within(t, 10*time.Second), 2)
			require.NoError(t, err)
			require.Equal(t, row.copies, list[0].Copies)
		})
	}
}

func TestACutAroundWhatTheServerSends(t *testing.T) {
	long(t)
	for _, row := range []struct {
		action  simulator.FaultAction
		handled int32 // before the client is back
	}{{simulator.FaultCutBefore, 0}, {simulator.FaultCutAfter, 1}} {
		t.Run(string(row.action), func(t *testing.T) {
			s, c, d, stranger := faulty(t)
			ctx := simtest.Within(t, 20*time.Second)
			var handled atomic.Int32
			c.Lock()
			c.refuse = func(*events.Message) bool { handled.Add(1); return false }
			c.Unlock()
			down := fault(t, s, simulator.Fault{Action: simulator.FaultSocketStatus})
			fault(t, s, simulator.Fault{Action: row.action, Direction: simulator.Out, Tag: "message", Times: 1})
			_, err := stranger.SendText(ctx, "15550001", "hello")
			require.NoError(t, err)
			require.NoError(t, d.WaitOffline(ctx))
			require.Eventually(t, func() bool { return down.Hits() > 0 }, 10*time.Second, time.Millisecond)
			require.Eventually(t, func() bool { return handled.Load() == row.handled }, 10*time.Second, time.Millisecond)
			require.Equal(t, 1, d.Pending(), "its receipt was not heard")
			down.Remove()
			require.NoError(t, d.WaitDrained(ctx))
			require.Equal(t, []string{"hello"}, c.waitTexts(1))
			require.EqualValues(t, 1, handled.Load())
		})
	}
}

func TestProbabilityIsSeededAndTimesBoundsIt(t *testing.T) {
	long(t)
	run := func(seed uint64, times int) (string, int) {
		s, c, _, _ := faulty(t)
		r := fault(t, s, simulator.Fault{
			Action: simulator.FaultIQError, XMLNS: "usync", Code: 500, Probability: 0.5, Seed: seed, Times: times,
		})
		out := ""
		for range 20 {
			_, err := c.IsOnWhatsApp(simtest.Within(t, 10*time.Second), []string{"+15550002"})
			out += map[bool]string{true: ".", false: "x"}[err == nil]
		}
		return out, r.Hits()
	}
	first, hits := run(1, 0)
	again, _ := run(1, 0)
	other, _ := run(2, 0)
	require.Equal(t, first, again)
	require.NotEqual(t, first, other)
	require.InDelta(t, 10, hits, 6)
	_, hits = run(1, 3)
	require.Equal(t, 3, hits)
}
