package sqlite

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// callers is how many appends are made side by side, as by the accounts of a busy hub.
const callers = 32

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(context.Background(), Config{Dir: b.TempDir()}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	b.ReportAllocs()
	return s
}

// benchEvent is a text message of about 900 bytes of JSON, Raw included.
func benchEvent(i int64) *sdk.Event {
	chat := fmt.Sprintf("49170%07d@s.whatsapp.net", i%500)
	return &sdk.Event{
		// Scattered like a hash, unique like a counter.
		ID:   fmt.Sprintf("%016x%016x", uint64(i)*0x9e3779b97f4a7c15, i),
		Type: sdk.TypeMessage, Account: "sales", Chat: chat, Time: time.Now(),
		Message: &sdk.Message{
			ID: fmt.Sprintf("3EB0%018X", uint64(i)*0x9e3779b97f4a7c15), Chat: chat, From: chat, SenderPN: chat,
			Name: "Somebody", Time: time.Now(), Kind: sdk.KindText, Text: strings.Repeat("hello ", 20),
		},
		Raw: []byte(`{"extendedTextMessage":{"text":"` + strings.Repeat("hello ", 40) + `"}}`),
	}
}

func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

func parallel(b *testing.B, fn func(i int64) error) {
	var next atomic.Int64
	b.SetParallelism(callers / 2) // times GOMAXPROCS
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := fn(next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	perSecond(b, b.N)
}

func BenchmarkAppendEvent(b *testing.B) {
	s := benchStore(b)
	ctx := context.Background()
	parallel(b, func(i int64) error {
		_, err := s.AppendEvent(ctx, store.Append{Event: benchEvent(i), Epoch: 1})
		return err
	})
}

// benchSettlement is what one webhook and no reply make of an event.
func benchSettlement(ev *sdk.Event, seq uint64) *store.Settlement {
	return &store.Settlement{
		EventID: ev.ID, Account: ev.Account, Chat: ev.Chat, Seq: seq, Epoch: 1,
		Verdict: []byte(`{"v":1,"rules":[{"rule":"ping.lua","result":"ok"}],"endpoints":["wh_01"]}`),
		Deliveries: []store.Delivery{{
			ID: ev.ID[16:] + ev.ID[:16], EventID: ev.ID, Endpoint: "wh_01", Account: ev.Account, Chat: ev.Chat, Seq: seq,
			Due: time.Now(), CreatedAt: time.Now(),
		}},
	}
}

// fill appends n events side by side.
func fill(b *testing.B, s *Store, n int) []*store.Settlement {
	b.Helper()
	out := make([]*store.Settlement, n)
	var next atomic.Int64
	done := make(chan error, callers)
	for range callers {
		go func() {
			for {
				i := next.Add(1)
				if i > int64(n) {
					done <- nil
					return
				}
				ev := benchEvent(i)
				a, err := s.AppendEvent(context.Background(), store.Append{Event: ev, Epoch: 1})
				if err != nil {
					done <- err
					return
				}
				out[i-1] = benchSettlement(ev, a.Seq)
			}
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	return out
}

func BenchmarkSettle(b *testing.B) {
	s := benchStore(b)
	all := fill(b, s, b.N)
	b.ResetTimer()
	parallel(b, func(i int64) error { return s.Settle(context.Background(), all[i-1]) })
}

// BenchmarkIntakeAndSettle is what one message costs the writer from end to end,
// without its deliveries' outcome.
func BenchmarkIntakeAndSettle(b *testing.B) {
	s := benchStore(b)
	ctx := context.Background()
	parallel(b, func(i int64) error {
		ev := benchEvent(i)
		a, err := s.AppendEvent(ctx, store.Append{Event: ev, Epoch: 1})
		if err != nil {
			return err
		}
		return s.Settle(ctx, benchSettlement(ev, a.Seq))
	})
}

func BenchmarkFinishDeliveries256(b *testing.B) {
	s := benchStore(b)
	const bulk = 256
	n := (b.N + bulk - 1) / bulk * bulk
	all := fill(b, s, n)
	for len(all) > 0 {
		// In one go: what is timed is the finish.
		st := all[:bulk]
		all = all[bulk:]
		err := s.write(context.Background(), 0, func(t *tx) error {
			prev := make([]uint64, 1)
			for _, one := range st {
				if err := settle(t, one, prev, 1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	finishes := make([]store.DeliveryFinish, 0, n)
	for i := range n {
		ev := benchEvent(int64(i + 1))
		finishes = append(finishes, store.DeliveryFinish{
			ID: ev.ID[16:] + ev.ID[:16], State: store.DeliveryOK, Counted: true, Epoch: 1, At: time.Now(),
			Record: &store.Attempt{N: 1, At: time.Now(), Took: 3 * time.Millisecond, Status: "ok", Code: 200},
		})
	}
	b.ResetTimer()
	for i := 0; i < n; i += bulk {
		missed, err := s.FinishDeliveries(context.Background(), finishes[i:i+bulk])
		if err != nil || len(missed) > 0 {
			b.Fatal(len(missed), err)
		}
	}
	perSecond(b, n)
}

func BenchmarkResolveAliasKnown(b *testing.B) {
	s := benchStore(b)
	ctx := context.Background()
	parallel(b, func(i int64) error {
		_, err := s.ResolveAlias(ctx, "sales", fmt.Sprintf("49170%07d@s.whatsapp.net", i%500), fmt.Sprintf("%d@lid", i%500))
		return err
	})
}
