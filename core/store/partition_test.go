package store_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// Partitions are stored with deliveries: what this finds out is not free to change.
func TestPartitionsAreAsTheyWere(t *testing.T) {
	require.Equal(t, 22, store.Partition(store.ChatRef{Account: "sales", Chat: "15551230001@s.whatsapp.net"}))
	require.Zero(t, store.Partition(store.ChatRef{Account: "sales"}))
	require.NotEqual(t, store.Partition(store.ChatRef{Account: "ab", Chat: "c"}), store.Partition(store.ChatRef{Account: "a", Chat: "bc"}))
	counts := map[int]int{}
	for i := range 3200 {
		counts[store.Partition(store.ChatRef{Account: "one", Chat: fmt.Sprint(i)})]++
	}
	require.Len(t, counts, store.Partitions)
	for p, n := range counts {
		require.InDelta(t, 100, n, 50, "partition %d: one account's chats spread evenly", p)
	}
	require.Equal(t, "partition/07", store.PartitionLease(7))
}
