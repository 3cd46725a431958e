package simulator_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// crowdSize is how many accounts exchange how many messages; SIMULATOR_CROWD=100,10000 is
// the large form, see the Makefile.
func crowdSize(t *testing.T) (accounts, messages int) {
	accounts, messages = 10, 500
	if v := os.Getenv("SIMULATOR_CROWD"); v != "" {
		_, err := fmt.Sscanf(v, "%d,%d", &accounts, &messages)
		require.NoError(t, err, "SIMULATOR_CROWD: want ACCOUNTS,MESSAGES")
	}
	return accounts, messages
}

// member is one account of the crowd, with what its client was handed.
type member struct {
	*whatsmeow.Client
	number string

	mu     sync.Mutex
	got    map[string]int // by text
	total  int
	told   int   // what its phone told it as a new companion: clients acknowledge such a message more than once
	bad    []any // events that must not be
	wake   chan struct{}
	ready  chan struct{} // closed when the client has what a new one is sent
	once   sync.Once
	synced map[appstate.WAPatchName]bool
}

func (m *member) take(evt any) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := evt.(type) {
	case *events.Message:
		if e.Message.Conversation == nil {
			m.told++
			break
		}
		m.got[e.Message.GetConversation()]++
		m.total++
		close(m.wake)
		m.wake = make(chan struct{})
	case *events.AppStateSyncComplete: // what a new client says to its phone is said by now
		m.synced[e.Name] = true
		if len(m.synced) == len(appstate.AllPatchNames) {
			m.once.Do(func() { close(m.ready) })
		}
	case *events.UndecryptableMessage, *events.StreamReplaced, *events.LoggedOut, *events.PairError, *events.StreamError:
		m.bad = append(m.bad, e)
	}
	return true
}

func (m *member) waitTotal(ctx context.Context, want int) error {
	for {
		m.mu.Lock()
		total, wake := m.total, m.wake
		m.mu.Unlock()
		if total >= want {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return fmt.Errorf("%s has %d of %d messages: %w", m.number, total, want, ctx.Err())
		}
	}
}

// join pairs a new account's client by QR.
func join(ctx context.Context, s *simulator.Server, db *sqlstore.Container, number string) (*member, error) {
	phone, err := s.AddPhone(number, number)
	if err != nil {
		return nil, err
	}
	m := &member{number: number, got: map[string]int{}, wake: make(chan struct{}), ready: make(chan struct{}), synced: map[appstate.WAPatchName]bool{}}
	m.Client = whatsmeow.NewClient(db.NewDevice(), waLog.Noop)
	m.BackgroundEventCtx = ctx
	m.EnableAutoReconnect = false
	m.SynchronousAck, m.EnableDecryptedEventBuffer = true, true
	s.Install(m.Client)
	m.AddEventHandlerWithSuccessStatus(m.take)
	qr, err := m.GetQRChannel(ctx)
	if err != nil {
		return nil, err
	}
	if err = m.Connect(); err != nil {
		return nil, err
	}
	if _, err = phone.LinkQR(ctx, (<-qr).Code); err != nil {
		return nil, err
	}
	for range qr {
	}
	select {
	case <-m.ready:
		return m, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: wait for connection: %w", number, ctx.Err())
	}
}

// tasks are goroutines that may fail.
type tasks struct {
	work sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (g *tasks) start(f func() error) {
	g.work.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, err)
		}
	})
}

func (g *tasks) wait() error {
	g.work.Wait()
	return errors.Join(g.errs...)
}

// Half of the crowd writes while the other half reads, and then the other way round:
// whatsmeow loads a session, encrypts and stores it with no lock against a decryption in between,
// and what that overwrites is undecryptable. Each message of a client goes to the other's client,
// the other's phone, and its own phone.
func TestACrowdExchangesMessagesEachAcknowledgedOnce(t *testing.T) {
	long(t)
	accounts, messages := crowdSize(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	s := newServer(t, t.TempDir())
	db := simtest.OpenKeys(t, filepath.Join(t.TempDir(), "crowd.db"))
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	t.Cleanup(cancel) // before the store is closed; it ends the clients

	crowd := make([]*member, accounts)
	var joining tasks
	turn := make(chan struct{}, 4)
	for i := range crowd {
		joining.start(func() (err error) {
			turn <- struct{}{}
			defer func() { <-turn }()
			crowd[i], err = join(ctx, s, db, fmt.Sprint(15_550_000+i))
			return err
		})
	}
	require.NoError(t, joining.wait())

	drained(ctx, t, s)
	before := s.Stats()

	const rounds, friends = 4, 5
	half := accounts / 2
	each := messages / (rounds * half)
	require.Positive(t, each)
	written, want := map[string]bool{}, make([]int, accounts)
	for round := range rounds {
		var writing tasks
		for i := range half {
			from := 2*i + round%2
			var targets []int
			for k := range each {
				to := (2*(i+k%friends) + 1 - round%2) % accounts
				targets = append(targets, to)
				want[to]++
				written[fmt.Sprintf("%d %d→%d %d", round, from, to, k)] = true
			}
			writing.start(func() error {
				for k, to := range targets {
					_, err := crowd[from].SendMessage(ctx, types.NewJID(crowd[to].number, types.DefaultUserServer),
						&waE2E.Message{Conversation: proto.String(fmt.Sprintf("%d %d→%d %d", round, from, to, k))})
					if err != nil {
						return fmt.Errorf("%s: message %d: %w", crowd[from].number, k, err)
					}
				}
				return nil
			})
		}
		require.NoError(t, writing.wait())
		for i, m := range crowd {
			require.NoError(t, m.waitTotal(ctx, want[i]))
		}
	}
	require.Len(t, written, rounds*half*each)
	drained(ctx, t, s)
	verifyCrowd(t, s, crowd, written)
	var stats simulator.Stats
	require.Eventually(t, func() bool { // a receipt may be on its way to one that was drained before
		stats = s.Stats()
		return stats.Queued == stats.Acked
	}, 30*time.Second, 10*time.Millisecond, "each stanza that was queued was released")
	require.LessOrEqual(t, stats.LateAcks, 2*told(crowd), "only what phones tell is acknowledged more than once")
	require.EqualValues(t, len(written), stats.Messages-before.Messages)
}

func told(crowd []*member) (n uint64) {
	for _, m := range crowd {
		m.mu.Lock()
		n += uint64(m.told)
		m.mu.Unlock()
	}
	return n
}

func drained(ctx context.Context, t *testing.T, s *simulator.Server) {
	t.Helper()
	for _, d := range s.Devices() {
		require.NoError(t, d.WaitDrained(ctx))
	}
}

func verifyCrowd(t *testing.T, s *simulator.Server, crowd []*member, written map[string]bool) {
	t.Helper()
	handed, shown, copied := map[string]int{}, map[string]int{}, map[string]int{}
	for _, m := range crowd {
		m.mu.Lock()
		require.Empty(t, m.bad, m.number)
		for text, n := range m.got {
			handed[text] += n
		}
		m.mu.Unlock()
		for _, got := range s.Phone(m.number).Received(0) {
			require.Equal(t, 1, got.Copies)
			if got.From == m.number {
				copied[got.Text]++
			} else {
				shown[got.Text]++
			}
		}
	}
	once := map[string]int{}
	for text := range written {
		once[text] = 1
	}
	require.Empty(t, cmp.Diff(once, handed), "what clients were handed")
	require.Empty(t, cmp.Diff(once, shown), "what phones show")
	require.Empty(t, cmp.Diff(once, copied), "what the writers' phones show")
}
