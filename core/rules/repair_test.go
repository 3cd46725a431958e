package rules

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

func TestAReloadMendsAVersionWhoseFilesAreLostOrDamaged(t *testing.T) {
	for what, damage := range map[string][]byte{"lost": nil, "damaged": []byte("x")} {
		t.Run(what, func(t *testing.T) {
			kv := newMemory()
			one, two := newHub(t, reply("1")), newHub(t, reply("1"))
			require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one", Shared: true}))
			require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
			require.NoError(t, two.Stop(t.Context())) // it looks when it is told to
			one.edit(reply("2"))
			c, err := one.Reload(t.Context())
			require.NoError(t, err)
			require.NoError(t, kv.SetKV(t.Context(), namespace, c.Version.Row, damage, 0))
			require.NoError(t, two.Follow(t.Context()))
			require.Equal(t, "1", two.answers(t))

			_, err = one.Reload(t.Context())
			require.NoError(t, err)
			require.NoError(t, two.Follow(t.Context()))
			require.Equal(t, "2", two.answers(t))
			require.Nil(t, two.Status().Behind)
			require.Len(t, kv.rows, 3, "the damaged row is gone")
		})
	}
}

// lossy tells of its first swap that it was not made, as a store may that repeated it since the
// answer was lost, and found that another hub had swapped again.
type lossy struct {
	*memory
	told bool
}

func (k *lossy) SwapKV(ctx context.Context, namespace, key string, old, value []byte) error {
	err := k.memory.SwapKV(ctx, namespace, key, old, value)
	if err == nil && !k.told {
		k.told, err = true, store.ErrStale
	}
	return err
}

func TestFilesThatMayBeInForceAreNotDropped(t *testing.T) {
	kv := &lossy{memory: newMemory()}
	one, two := newHub(t, reply("1")), newHub(t, "")
	require.NoError(t, one.Start(t.Context(), Place{KV: kv, Hub: "one", Shared: true}))
	require.NoError(t, two.Start(t.Context(), Place{KV: kv, Hub: "two", Shared: true}))
	require.Nil(t, two.Status().Behind)
	require.Equal(t, "1", two.answers(t))
}

// An editor that saves in two steps, or a file that is away for a moment.
func TestAReloadTakesRulesFromAHubThatIsAloneOnlyIfItIsTold(t *testing.T) {
	h := newHub(t, reply("1"))
	require.NoError(t, h.Start(t.Context(), Place{KV: newMemory()}))
	h.edit("")
	_, err := h.Reload(t.Context())
	require.ErrorIs(t, err, ErrSilent)
	require.Equal(t, "1", h.answers(t))
	require.WithinDuration(t, time.Now(), h.Status().Failure.At, time.Minute)
}
