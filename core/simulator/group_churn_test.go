package simulator_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAGroupWhoseMembersComeAndGoLosesNothing(t *testing.T) {
	long(t)
	bothWays(t, func(t *testing.T, byNumber bool) {
		s := newServer(t, t.TempDir())
		one, two := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
		guest := simtest.AddPhone(t, s, "15550003")
		a, da := paired(t, s, one)
		b, db := paired(t, s, two)
		c, dc := paired(t, s, guest)
		ctx := simtest.Within(t, 120*time.Second)
		group, err := one.NewGroup(ctx, simulator.GroupOptions{Subject: "Cats", Members: []string{"15550002"}, ByNumber: byNumber})
		require.NoError(t, err)
		jid := groupJID(t, group)

		const each, visits = 30, 8
		// churn runs senders while somebody comes and goes.
		churn := func(visit func(n int) error, senders ...func(text string) error) {
			var running sync.WaitGroup
			failed := make(chan error, len(senders)+1)
			for n, send := range senders {
				running.Go(func() {
					for i := range each {
						if err := send(fmt.Sprint(n, " ", i)); err != nil {
							failed <- err
							return
						}
					}
				})
			}
			running.Go(func() {
				for n := range visits {
					if err := errors.Join(one.GroupAdd(ctx, group, "15550003"), visit(n), one.GroupRemove(ctx, group, "15550003")); err != nil {
						failed <- err
						return
					}
				}
			})
			running.Wait()
			close(failed)
			require.NoError(t, <-failed)
			for _, d := range s.Devices() {
				require.NoError(t, d.WaitDrained(ctx))
			}
		}
		fromPhone := func(p *simulator.Phone) func(string) error {
			return func(text string) error {
				_, err := p.SendText(ctx, group, text)
				return err
			}
		}
		fromClient := func(c *client) func(string) error {
			return func(text string) error {
				_, err := c.SendMessage(ctx, jid, &waE2E.Message{Conversation: proto.String(text)})
				return err
			}
		}
		churn(func(n int) error {
			_, err := guest.SendText(ctx, group, fmt.Sprint("guest ", n))
			return errors.Join(err, one.SetSubject(ctx, group, fmt.Sprint("Cats ", n)))
		}, fromPhone(one), fromPhone(two))
		// Clients write one after the other, and while nobody writes to them: whatsmeow encrypts with a
		// session that it does not guard against a decryption in between.
		nothing := func(int) error { return nil }
		churn(nothing, fromClient(a))
		churn(nothing, fromClient(b))
		// Those who were in it all the time have everything.
		const total = 4*each + visits
		for _, p := range []*simulator.Phone{one, two} {
			require.Eventually(t, func() bool { return len(p.Messages(group)) == total }, 60*time.Second, 10*time.Millisecond,
				"%s has %d of %d", p.Number(), len(p.Messages(group)), total)
		}
		for _, cli := range []*client{a, b} { // all but what it sent itself
			cli.wait("all messages", func() bool { return len(cli.messages) >= total-each })
		}
		for _, d := range []*simulator.Device{da, db, dc} {
			require.NoError(t, d.WaitDrained(ctx))
		}

		// Who was thrown out got nothing that came later.
		_, err = one.SendText(ctx, group, "secret")
		require.NoError(t, err)
		b.sendTo(group, "secret too")
		a.text(group, "secret too")
		require.NoError(t, dc.WaitDrained(ctx))
		for _, m := range append(guest.Messages(group), simulator.Message{}) {
			require.NotContains(t, m.Text, "secret")
		}
		c.Lock()
		defer c.Unlock()
		for _, m := range c.messages {
			require.NotContains(t, m.Message.GetConversation(), "secret")
		}
	})
}
