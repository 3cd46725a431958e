package simulator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// BenchmarkDrain is the time of one message from the offline queue of a device, encrypted
// before the clock runs, to its durable release: most of it is the client's.
func BenchmarkDrain(b *testing.B) {
	s := newServer(b, b.TempDir())
	owner := simtest.AddPhone(b, s, "15550001")
	c, d := paired(b, s, owner)
	c.Disconnect()
	ctx := simtest.Within(b, 5*time.Minute)
	require.NoError(b, d.WaitOffline(ctx))
	for i := range 16 {
		simtest.AddPhone(b, s, fmt.Sprint(15551000+i))
	}
	start := time.Now()
	for i := range b.N {
		_, err := s.Phone(fmt.Sprint(15551000+i%16)).SendText(ctx, "15550001", fmt.Sprint(i))
		require.NoError(b, err)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(b.N), "µs-to-send")
	c.Forget()
	c.renew(true)
	b.ResetTimer()
	require.NoError(b, c.Connect())
	require.NoError(b, d.WaitDrained(ctx))
	b.StopTimer()
	waitEvent(c, simtest.AnyOf[*events.OfflineSyncCompleted])
}
