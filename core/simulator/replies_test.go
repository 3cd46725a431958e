package simulator_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAPhoneAnswersByItselfAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s, err := simulator.New(simulator.Options{Dir: dir})
	require.NoError(t, err)
	bot := simtest.AddPhone(t, s, "15550001")
	require.ErrorIs(t, bot.SetReplies([]simulator.Reply{{Pattern: "(", Text: "x"}}), simulator.ErrReply)
	rules := []simulator.Reply{
		{Pattern: `(?i)^order (?P<what>\w+)`, Text: "one ${what} for $$5"},
		{Pattern: `order`, Text: "of what?"},
	}
	require.NoError(t, bot.SetReplies(rules))
	simtest.AddPhone(t, s, "15550002")
	require.NoError(t, s.Close())

	s = newServer(t, dir)
	require.Equal(t, rules, s.Phone("15550001").Replies())
	ann := s.Phone("15550002")
	for i, c := range []struct{ text, answer string }{{"Order tea, please", "one tea for $5"}, {"order", "of what?"}} {
		id, err := ann.SendText(t.Context(), "15550001", c.text)
		require.NoError(t, err)
		got, err := ann.WaitReceived(simtest.Within(t, 10*time.Second), i+1)
		require.NoError(t, err)
		require.Equal(t, c.answer, got[i].Text)
		require.Equal(t, id, got[i].Quoted)
	}
	_, err = ann.SendText(t.Context(), "15550001", "thanks")
	require.NoError(t, err)
	require.NoError(t, s.Phone("15550001").SetReplies(nil))
	require.Empty(t, s.Phone("15550001").Replies())
}
