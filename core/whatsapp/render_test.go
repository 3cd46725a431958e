package whatsapp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/sdk"
)

func TestRenderedTextReadsBackAsItWas(t *testing.T) {
	quote := &sdk.Message{ID: "3EB0BB", Chat: bobPN.String(), SenderPN: bobPN.String(), SenderLID: bobLID.String(), Kind: sdk.KindText, Text: "ping"}
	at := time.Unix(1_700_000_000, 0).UTC()
	var r Renderer
	for name, c := range map[string]Text{
		"plain":    {To: "+1 555-0002", Text: "pong\n*bold* 👍"},
		"quote":    {To: bobPN.String(), Text: "pong", Quote: quote},
		"lid":      {To: bobLID.String(), Text: "pong", Quote: quote},
		"mentions": {To: group.String(), Text: "@15550002 hi", Mentions: []string{"15550002", bobLID.String()}},
		"empty":    {To: bobPN.String()},
	} {
		t.Run(name, func(t *testing.T) {
			to, payload, err := r.RenderText(c.To, c.Text, c.Quote, c.Mentions)
			require.NoError(t, err)
			ev, err := r.Describe("a", "3EB0AA", to, payload, at)
			require.NoError(t, err)
			require.Equal(t, sdk.TypeMessage, ev.Type)
			require.Equal(t, to, ev.Chat)
			require.Equal(t, "3EB0AA", ev.WAID)
			require.Equal(t, at, ev.Time)
			m := ev.Message
			require.True(t, m.FromMe)
			require.Equal(t, sdk.KindText, m.Kind)
			require.Equal(t, c.Text, m.Text)
			if c.Quote == nil {
				require.Nil(t, m.Quote)
			} else {
				author := bobPN.String()
				if to == bobLID.String() {
					author = bobLID.String()
				}
				require.Equal(t, &sdk.Quote{ID: "3EB0BB", Participant: author, Text: "ping"}, m.Quote)
			}
			if c.Mentions != nil {
				require.Equal(t, []string{bobPN.String(), bobLID.String()}, m.Mentions)
			}
			var p waE2E.Message
			require.NoError(t, proto.Unmarshal(payload, &p))
			require.Len(t, p.GetMessageContextInfo().GetMessageSecret(), secretSize)
		})
	}
}

func TestRenderingIsDeterministicButForTheSecret(t *testing.T) {
	c := Text{To: bobPN.String(), Text: "x", Mentions: []string{"15550002"}}
	_, a, err := RenderText(c, bytes.NewReader(make([]byte, 32)))
	require.NoError(t, err)
	_, b, err := RenderText(c, bytes.NewReader(make([]byte, 32)))
	require.NoError(t, err)
	require.Equal(t, a, b)
	_, _, err = RenderText(c, iotest.ErrReader(errors.New("no randomness")))
	require.ErrorContains(t, err, "no randomness")
	_, _, err = RenderText(Text{To: "nobody"}, bytes.NewReader(nil))
	require.ErrorIs(t, err, ErrAddress)
	_, _, err = RenderText(Text{To: bobPN.String(), Mentions: []string{"nobody"}}, bytes.NewReader(nil))
	require.ErrorIs(t, err, ErrAddress)
}

func TestAQuotedFileKeepsItsKind(t *testing.T) {
	for _, kind := range []sdk.Kind{sdk.KindImage, sdk.KindVideo, sdk.KindAudio, sdk.KindDocument, sdk.KindSticker} {
		var r Renderer
		to, payload, err := r.RenderText(bobPN.String(), "nice", &sdk.Message{ID: "1", Chat: bobPN.String(), Kind: kind, Media: &sdk.Media{Name: "f"}}, nil)
		require.NoError(t, err)
		ev, err := r.Describe("a", "2", to, payload, time.Now())
		require.NoError(t, err)
		require.True(t, ev.Message.Quote.HasMedia, kind)
		require.Equal(t, bobPN.String(), ev.Message.Quote.Participant)
	}
}

func TestNewIDsLookLikeWhatsAppWebs(t *testing.T) {
	var r Renderer
	require.Regexp(t, `^3EB0[0-9A-F]{18}$`, r.NewID())
	require.NotEqual(t, r.NewID(), r.NewID())
}

func TestWhatAnErrorSaysOfTheMessage(t *testing.T) {
	for _, c := range []struct {
		err     error
		unsent  bool // before the message was written
		notSent bool
		refused *RefusedError
	}{
		{err: whatsmeow.ErrNotLoggedIn, notSent: true},
		{err: fmt.Errorf("%w 463", whatsmeow.ErrServerReturnedError), refused: &RefusedError{463, "new_chats_restricted"}},
		{err: fmt.Errorf("%w 999", whatsmeow.ErrServerReturnedError), refused: &RefusedError{999, "server_error"}},
		{err: fmt.Errorf("%w x", whatsmeow.ErrUnknownServer), refused: &RefusedError{0, "bad_address"}},
		{err: fmt.Errorf("failed: %w", whatsmeow.ErrNotInGroup), refused: &RefusedError{403, "not_in_group"}},
		{err: whatsmeow.ErrNotConnected}, // can follow a first write
		{err: whatsmeow.ErrMessageTimedOut},
		{err: whatsmeow.ErrIQTimedOut},
		{err: errors.New("anything else")},
		{err: whatsmeow.ErrNotConnected, unsent: true, notSent: true},
		{err: errors.New("failed to get device list"), unsent: true, notSent: true},
		{err: context.DeadlineExceeded, unsent: true, notSent: true},
		{err: fmt.Errorf("failed: %w", whatsmeow.ErrNotInGroup), unsent: true, refused: &RefusedError{403, "not_in_group"}},
	} {
		err := classify(c.err, !c.unsent)
		require.Equal(t, c.notSent, errors.Is(err, ErrNotSent), c.err)
		var refused *RefusedError
		if errors.As(err, &refused) || c.refused != nil {
			require.Equal(t, c.refused, refused, c.err)
		} else {
			require.ErrorIs(t, err, c.err)
		}
	}
}
