package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/lua"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/sdk"
)

// folder returns a function that writes texts, with zero bytes between them, to rules' files.
func folder(t testing.TB) func(text string) lua.Config {
	dir := t.TempDir()
	return func(text string) lua.Config {
		cfg := lua.Config{Dir: dir}
		for i, one := range strings.Split(text, "\x00") {
			name := fmt.Sprintf("r%d.lua", i)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(one), 0o600))
			cfg.Rules = append(cfg.Rules, lua.RuleConfig{File: name})
		}
		return cfg
	}
}

func message(text string) *sdk.Event {
	const chat = "4915550001@s.whatsapp.net"
	return &sdk.Event{
		ID: "0123456789abcdef0123456789abcdef", Type: sdk.TypeMessage, Account: "a", Chat: chat, Time: time.Now(),
		Message: &sdk.Message{ID: "M1", Chat: chat, From: chat, SenderPN: chat, Time: time.Now(), Kind: sdk.KindText, Text: text},
	}
}

type textRenderer struct{}

func (textRenderer) RenderText(to, text string, _ *sdk.Message, _ []string) (string, []byte, error) {
	return to, []byte(text), nil
}

type nowhere struct{}

func (nowhere) Match(*sdk.Event) []pipeline.EndpointRef { return nil }

func TestMessagesThatFlowDuringReloadsAreEachAnsweredOnce(t *testing.T) {
	const reloads, chats, each = 20, 5, 60
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	h := newHub(t, reply("v0"))
	require.NoError(t, h.Start(t.Context(), Place{KV: st}))
	p, err := pipeline.New(pipeline.Config{}, pipeline.Deps{Store: st, Rules: h, Render: textRenderer{}, Endpoints: nowhere{}})
	require.NoError(t, err)
	require.NoError(t, p.Own(t.Context(), "a", 1))
	p.Start()
	defer func() { require.NoError(t, p.Stop(context.Background())) }()

	var ids []string
	var mu sync.Mutex
	var flow sync.WaitGroup
	for c := range chats {
		flow.Go(func() {
			chat := fmt.Sprintf("491555%d@s.whatsapp.net", c)
			for i := range each {
				ev := message("hello")
				ev.Chat, ev.WAID = chat, fmt.Sprintf("%d-%d", c, i)
				ev.Message.Chat, ev.Message.From, ev.Message.SenderPN, ev.Message.ID = chat, chat, chat, ev.WAID
				if err := p.Append(t.Context(), ev); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				ids = append(ids, ev.ID)
				mu.Unlock()
			}
		})
	}
	texts := map[string]string{h.Status().Version.Version: "v0"}
	sets := []*lua.Set{h.live.Set()}
	for i := 1; i <= reloads; i++ {
		text := fmt.Sprint("v", i)
		h.edit(reply(text))
		c, err := h.Reload(t.Context())
		require.NoError(t, err)
		texts[c.Version.Version] = text
		sets = append(sets, h.live.Set())
		mu.Lock()
		reached := len(ids)
		mu.Unlock()
		// Spread the reloads over the flow.
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(ids) > reached || len(ids) == chats*each
		}, 30*time.Second, time.Millisecond)
	}
	flow.Wait()
	require.Len(t, ids, chats*each)
	used := map[string]int{}
	for _, id := range ids {
		var se store.StoredEvent
		require.Eventually(t, func() bool {
			se, err = st.Event(t.Context(), id)
			return err == nil && se.Stage >= store.StageDone
		}, 30*time.Second, time.Millisecond)
		var verdict struct{ RuleSet string }
		require.NoError(t, json.Unmarshal(se.Verdict, &verdict))
		sends, err := st.SendsOfEvent(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, sends, 1)
		require.Equal(t, texts[verdict.RuleSet], string(sends[0].Payload), "the verdict names the rules that gave it")
		used[verdict.RuleSet]++
	}
	t.Log("messages by version:", used)
	require.Greater(t, len(used), 2, "the flow was over before the rules changed")
	for i, set := range sets {
		require.Equal(t, i < reloads, set.Closed(), "set %d", i)
	}
}

// stale is a store in which other hubs may be faster, as the property says.
type stale struct {
	*memory
	first func()
}

func (k *stale) SwapKV(ctx context.Context, namespace, key string, old, value []byte) error {
	if first := k.first; first != nil {
		k.first = nil
		first()
	}
	return k.memory.SwapKV(ctx, namespace, key, old, value)
}

func TestAReloadThatComesSecondIsInForceAtLast(t *testing.T) {
	kv := &stale{memory: newMemory()}
	one, two := newHub(t, reply("1")), newHub(t, reply("1"))
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one"}))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two"}))
	one.edit(reply("of one"))
	two.edit(reply("of two"))
	kv.first = func() {
		_, err := two.Reload(t.Context())
		require.NoError(t, err)
	}
	c, err := one.Reload(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(3), c.Version.Number)
	require.NoError(t, two.Follow(t.Context()))
	require.Equal(t, "of one", two.answers(t))
	require.Len(t, kv.rows, 1+3, "a publication that was too late leaves no row")
}

// TestHubsAgree: whatever hubs on one store do, and in whatever order, in the end they have
// the same rules in force, those of the last change, and every version that is listed is there.
func TestHubsAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kv := newMemory()
		n := rapid.IntRange(2, 3).Draw(rt, "hubs")
		hubs := make([]*hub, n)
		start := func(i int, text string) {
			hubs[i] = newHub(t, reply(text))
			require.NoError(rt, hubs[i].Start(t.Context(), Place{KV: kv, Hub: fmt.Sprint(i), Shared: true}))
			// The test decides when it looks.
			require.NoError(rt, hubs[i].Stop(t.Context()))
		}
		for i := range hubs {
			start(i, "same")
		}
		text := rapid.Custom(func(rt *rapid.T) string { return fmt.Sprint("t", rapid.IntRange(0, 15).Draw(rt, "text")) })
		last := "same"
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			i := rapid.IntRange(0, n-1).Draw(rt, "hub")
			h := hubs[i]
			switch rapid.SampledFrom([]string{"reload", "broken", "rollback", "follow", "restart"}).Draw(rt, "do") {
			case "reload":
				last = text.Draw(rt, "file")
				h.edit(reply(last))
				_, err := h.Reload(t.Context())
				require.NoError(rt, err)
				require.Equal(rt, last, h.answers(rt))
			case "broken":
				before := h.answers(rt)
				h.edit("wildcat.on(")
				_, err := h.Reload(t.Context())
				require.Error(rt, err)
				require.Equal(rt, before, h.answers(rt))
			case "rollback":
				list, err := h.Versions(t.Context())
				require.NoError(rt, err)
				to := rapid.SampledFrom(list).Draw(rt, "to")
				_, err = h.Rollback(t.Context(), to.Version)
				require.NoError(rt, err)
				last = h.answers(rt)
			case "follow":
				require.NoError(rt, h.Follow(t.Context()))
				require.Equal(rt, last, h.answers(rt))
			case "restart":
				file := text.Draw(rt, "file")
				rec, _, err := h.history.read(t.Context())
				require.NoError(rt, err)
				if !rec.known(lua.Read(h.file(reply(file))).Version()) {
					last = file
				}
				start(i, file)
				require.Equal(rt, last, hubs[i].answers(rt))
			}
		}
		rec, _, err := hubs[0].history.read(t.Context())
		require.NoError(rt, err)
		require.LessOrEqual(rt, len(rec.Versions), keep)
		require.Len(rt, kv.rows, len(rec.Versions)+1)
		for i, v := range rec.Versions {
			b, err := hubs[0].history.bundle(t.Context(), v)
			require.NoError(rt, err)
			require.Equal(rt, v.Version, b.Version())
			require.True(rt, i == 0 || v.Number < rec.Versions[i-1].Number)
		}
		for _, h := range hubs {
			require.NoError(rt, h.Follow(t.Context()))
			require.Equal(rt, rec.top(), h.Status().Version)
			require.Equal(rt, last, h.answers(rt))
		}
	})
}

func TestReloadsOnTwoHubsAtOnceEndInOneOrder(t *testing.T) {
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	hubs := []*hub{newHub(t, reply("0")), newHub(t, reply("0"))}
	for i, h := range hubs {
		require.NoError(t, h.Start(t.Context(), Place{KV: st, Hub: fmt.Sprint(i), Shared: true}))
	}
	var all sync.WaitGroup
	for i, h := range hubs {
		all.Go(func() {
			for n := range 15 {
				h.edit(reply(fmt.Sprintf("%d of %d", n, i)))
				if _, err := h.Reload(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := h.Rollback(t.Context(), ""); err != nil && !errors.Is(err, ErrNoVersion) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, h := range hubs {
		require.NoError(t, h.Follow(t.Context()))
	}
	require.Equal(t, hubs[0].Status().Version, hubs[1].Status().Version)
	require.Equal(t, hubs[0].answers(t), hubs[1].answers(t))
	require.Equal(t, uint64(1+2*15*2), hubs[0].Status().Version.Number, "every change has its number")
}
