package simulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestTheTraceShowsStanzasAndNoCiphertext(t *testing.T) {
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 10*time.Second)
	id, err := stranger.SendText(ctx, "15550001", "hello")
	require.NoError(t, err)
	c.waitTexts(1)
	got, err := s.WaitStanza(ctx, func(st simulator.Stanza) bool { return st.ID == id && st.Direction == simulator.Out })
	require.NoError(t, err)
	require.Equal(t, "message", got.Tag)
	require.Equal(t, d.JID().String(), got.Device)
	require.NotZero(t, got.Conn)
	require.Contains(t, got.XML, `<message from="15550002@s.whatsapp.net" id="`+id+`" notify="Name of 15550002"`)
	require.Regexp(t, `<enc type="pkmsg" v="2"><!-- \d+ bytes --></enc>`, got.XML)
	require.NotContains(t, got.XML, fmt.Sprintf("%x", got.Node.GetChildByTag("enc").Content.([]byte)[:8]))
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "Node")
	receipt, err := s.WaitStanza(ctx, func(st simulator.Stanza) bool { return st.ID == id && st.Tag == "receipt" })
	require.NoError(t, err)
	require.Equal(t, simulator.In, receipt.Direction)
	require.Greater(t, receipt.N, got.N)

	// What a fault does is seen as well.
	fault(t, s, simulator.Fault{Action: simulator.FaultDrop, Direction: simulator.Out, Tag: "message"})
	id, err = stranger.SendText(ctx, "15550001", "dropped")
	require.NoError(t, err)
	got, err = s.WaitStanza(ctx, func(st simulator.Stanza) bool { return st.ID == id })
	require.NoError(t, err)
	require.Equal(t, "drop #1", got.Fault)
}

func TestTheTraceIsBoundedFilteredAndOffUntilAsked(t *testing.T) {
	long(t)
	s := newServer(t, "")
	first, d := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	_, other := paired(t, s, simtest.AddPhone(t, s, "15550002"))
	all, err := s.Trace().Stanzas(simulator.TraceFilter{})
	require.NoError(t, err)
	require.Empty(t, all)
	require.Zero(t, s.Trace().Enabled())

	s.Trace().Enable(5)
	for range 10 {
		first.send("15550002", "x")
	}
	for _, dev := range []*simulator.Device{d, other} {
		require.NoError(t, dev.WaitDrained(simtest.Within(t, 10*time.Second)))
	}
	all, err = s.Trace().Stanzas(simulator.TraceFilter{})
	require.NoError(t, err)
	require.Len(t, all, 5)
	for i := range 4 {
		require.Equal(t, all[i].N+1, all[i+1].N)
	}
	s.Trace().Enable(3)
	fewer, err := s.Trace().Stanzas(simulator.TraceFilter{After: all[3].N})
	require.NoError(t, err)
	require.NotEmpty(t, fewer)
	require.Greater(t, fewer[0].N, all[3].N)

	s.Trace().Enable(1000)
	s.Trace().Enable(0)
	s.Trace().Enable(1000)
	first.send("15550002", "x")
	require.NoError(t, other.WaitDrained(simtest.Within(t, 10*time.Second)))
	for _, device := range []string{"15550001", d.JID().String(), d.LID().String()} {
		mine, err := s.Trace().Stanzas(simulator.TraceFilter{Device: device, Direction: simulator.In})
		require.NoError(t, err)
		require.NotEmpty(t, mine)
		for _, st := range mine {
			require.Equal(t, d.JID().String(), st.Device)
			require.Equal(t, simulator.In, st.Direction)
		}
	}
	_, err = s.Trace().Stanzas(simulator.TraceFilter{Device: "nobody"})
	require.Error(t, err)
}

func TestALiveViewThatIsSlowLosesStanzasAndCountsThem(t *testing.T) {
	s := newServer(t, "")
	c, d := paired(t, s, simtest.AddPhone(t, s, "15550001"))
	slow, err := s.Trace().Subscribe(simulator.TraceFilter{Device: "15550001"}, 1)
	require.NoError(t, err)
	quick, err := s.Trace().Subscribe(simulator.TraceFilter{Device: "15550001", Direction: simulator.In}, 1000)
	require.NoError(t, err)
	_, err = s.Trace().Subscribe(simulator.TraceFilter{Device: "?"}, 1)
	require.Error(t, err)
	c.again(d)
	waitEvent(c, simtest.AnyOf[*events.Connected])
	// The answer to what the client said last before may come first.
	require.Contains(t, []string{"success", "ack"}, (<-slow.C).Tag)
	require.Positive(t, slow.Dropped())
	for st := range quick.C {
		if st.Tag == "iq" {
			break
		}
	}
	require.Zero(t, quick.Dropped())
	slow.Close()
	slow.Close()
	quick.Close()
	for range quick.C {
	}
	_, open := <-slow.C
	require.False(t, open)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.WaitStanza(ctx, func(simulator.Stanza) bool { return false })
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
