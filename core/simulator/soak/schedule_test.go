package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"go.mau.fi/whatsmeow/util/keys"

	"github.com/wildcathub/wildcat/core/simulator"
)

func TestMain(m *testing.M) {
	simulator.Trust(rootKey())
	// whatsmeow's own: a client that is given up while a frame waits for its handler keeps the
	// goroutine that read it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"))
}

// rootKey is what whatsmeow trusts: set once, since schedules run beside each other.
func rootKey() [32]byte { return *keys.NewKeyPairFromPrivateKey(root).Pub }

func setting(t *testing.T, name string, standard int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// plan is a schedule: everything in it follows from its seed.
type plan struct {
	seed     uint64
	clients  []string // numbers, one client each
	phones   []string // numbers without a client
	restarts bool     // it has a folder, and is stopped and started
	messages []message
	actions  []action
}

type message struct {
	id, text string
	from     int // index in clients, or len(clients) and up in phones
	to       string
}

type action struct {
	at int // as soon as so many messages are sent
	do step
}

func newPlan(seed uint64, messages int) *plan {
	random := rand.New(rand.NewPCG(seed, 1))
	p := &plan{
		seed: seed, clients: []string{"15550001", "15550002"}, phones: []string{"15550003", "15550004"},
		restarts: random.IntN(2) == 0,
	}
	if random.IntN(2) == 0 {
		p.clients = append(p.clients, "15550005")
	}
	for i := range messages {
		m := message{id: fmt.Sprintf("3EB0%08X%08X", seed, i), text: fmt.Sprint("message ", i), from: random.IntN(len(p.clients) + len(p.phones))}
		// Clients write to phones and phones to clients. What clients write to each other is left
		// out: two whatsmeow clients that open sessions to each other at once, over a network like this
		// one, lose messages, and no server can help it.
		m.to = pick(random, p.phones...)
		if p.isPhone(m.from) {
			m.to = pick(random, p.clients...)
		}
		p.messages = append(p.messages, m)
	}
	for at := 5; at < messages; at += 3 + random.IntN(13) {
		p.actions = append(p.actions, action{at, randomStep(random, p)})
	}
	return p
}

func (p *plan) isPhone(from int) bool { return from >= len(p.clients) }

func (p *plan) number(from int) string {
	if p.isPhone(from) {
		return p.phones[from-len(p.clients)]
	}
	return p.clients[from]
}

func (p *plan) indexOf(number string) int { return slices.Index(p.numbers(), number) }

// numbers are all that there are.
func (p *plan) numbers() []string { return append(append([]string{}, p.clients...), p.phones...) }

// String is the schedule for whoever looks into a failure.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: clients %v, phones %v, restarts %v\n", p.seed, p.clients, p.phones, p.restarts)
	for _, a := range p.actions {
		fmt.Fprintf(&b, "  after %4d: %s\n", a.at, a.do.name)
	}
	return b.String()
}

// Runs a few short schedules, or those that the environment asks for: see make soak.
func TestFaultSchedules(t *testing.T) {
	schedules := setting(t, "WILDCAT_SOAK_SCHEDULES", 2)
	messages := setting(t, "WILDCAT_SOAK_MESSAGES", 60)
	first := setting(t, "WILDCAT_SOAK_SEED", 1)
	for seed := first; seed < first+schedules; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel() // most of the time each waits for something
			start := time.Now()
			p := newPlan(uint64(seed), messages)
			r := newRun(t, p)
			defer func() {
				if t.Failed() {
					t.Logf("schedule, to be had again with SEED=%d SCHEDULES=1:\n%s", seed, p)
				}
			}()
			r.go_()
			t.Logf("%d messages, %d actions, %s; %s", messages, len(p.actions), time.Since(start).Round(time.Millisecond), r.summary())
		})
	}
}
