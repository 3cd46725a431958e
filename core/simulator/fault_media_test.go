package simulator_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestFaultsOfTheMediaHostReachTheClient(t *testing.T) {
	s, c, _, _ := faulty(t)
	ctx := simtest.Within(t, 60*time.Second)
	body := noise(1, 100_000)
	up, err := c.Upload(ctx, body, whatsmeow.MediaDocument)
	require.NoError(t, err)
	doc := document(up)

	for code, want := range map[int]error{
		403: whatsmeow.ErrMediaDownloadFailedWith403, 404: whatsmeow.ErrMediaDownloadFailedWith404, 410: whatsmeow.ErrMediaDownloadFailedWith410,
	} {
		r := fault(t, s, simulator.Fault{Action: simulator.FaultMediaStatus, Direction: simulator.Out, Type: "document", Code: code})
		_, err = c.Download(ctx, doc)
		require.ErrorIs(t, err, want)
		require.Positive(t, r.Hits())
		r.Remove()
	}
	r := fault(t, s, simulator.Fault{Action: simulator.FaultMediaStatus, Code: 500, Times: 1})
	_, err = c.Upload(ctx, body, whatsmeow.MediaDocument)
	require.ErrorContains(t, err, "500")
	require.Equal(t, 1, r.Hits())
	r.Remove()
	fault(t, s, simulator.Fault{Action: simulator.FaultMediaStatus, Type: "image", Code: 500})
	got, err := c.Download(ctx, doc)
	require.NoError(t, err, "images only")
	require.Equal(t, body, got)
	s.ClearFaults()

	fault(t, s, simulator.Fault{Action: simulator.FaultMediaTruncate})
	_, err = c.Download(ctx, doc)
	require.ErrorContains(t, err, "unexpected EOF")
	s.ClearFaults()

	fault(t, s, simulator.Fault{Action: simulator.FaultMediaCorrupt})
	_, err = c.Download(ctx, doc)
	require.ErrorIs(t, err, whatsmeow.ErrInvalidMediaEncSHA256)
	s.ClearFaults()

	slow := fault(t, s, simulator.Fault{Action: simulator.FaultMediaSlow, DelayMS: 60_000, Times: 1})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, err = c.Download(short, doc)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 1, slow.Hits())
	start := time.Now()
	fault(t, s, simulator.Fault{Action: simulator.FaultMediaSlow, DelayMS: 40})
	got, err = c.Download(ctx, doc)
	require.NoError(t, err)
	require.Equal(t, body, got)
	require.GreaterOrEqual(t, time.Since(start), 40*time.Millisecond)
}
