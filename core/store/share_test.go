package store

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestShares(t *testing.T) {
	for _, tt := range []struct {
		total int
		holds map[string]int
		want  map[string]int
	}{
		{32, map[string]int{"a": 0}, map[string]int{"a": 32}},
		{32, map[string]int{"a": 32, "b": 0}, map[string]int{"a": 16, "b": 16}},
		{32, map[string]int{"a": 0, "b": 3, "c": 5}, map[string]int{"a": 10, "b": 11, "c": 11}},
		{32, map[string]int{"a": 5, "b": 5, "c": 5, "d": 5, "e": 6, "f": 6}, map[string]int{"a": 5, "b": 5, "c": 5, "d": 5, "e": 6, "f": 6}},
		// One gives, and not each that could.
		{32, map[string]int{"a": 6, "b": 6, "c": 6, "d": 5, "e": 5, "f": 4}, map[string]int{"a": 6, "b": 6, "c": 5, "d": 5, "e": 5, "f": 5}},
		{2, map[string]int{"a": 0, "b": 1, "c": 1}, map[string]int{"a": 0, "b": 1, "c": 1}},
		{0, map[string]int{"a": 0, "b": 0}, map[string]int{"a": 0, "b": 0}},
	} {
		for hub, want := range tt.want {
			require.Equal(t, want, Share(tt.total, tt.holds, hub), "%s of %v", hub, tt.holds)
		}
	}
}

// Hubs that look one after the other, in any order and at any time, come to rest after each has
// looked three times: whoever has too much lets go, who has too little takes what is free.
func TestHubsThatGoByTheirSharesComeToRest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(rt, "hubs")
		free := rapid.IntRange(0, 40).Draw(rt, "free")
		holds := map[string]int{}
		total := free
		for i := range n {
			h := rapid.IntRange(0, 40).Draw(rt, "holds")
			holds[fmt.Sprint("hub", i)] = h
			total += h
		}
		missing := 0 // what has to move at least
		for hub, has := range holds {
			missing += max(0, Share(total, holds, hub)-has)
		}
		moved := 0
		// Some look at the same time: each sees what was before all of them.
		for range 3 {
			for _, group := range slices.Collect(slices.Chunk(rapid.Permutation(slices.Sorted(maps.Keys(holds))).Draw(rt, "order"), rapid.IntRange(1, n).Draw(rt, "at once"))) {
				seen := maps.Clone(holds)
				for _, hub := range group {
					share := Share(total, seen, hub)
					switch {
					case seen[hub] > share:
						free += seen[hub] - share
						holds[hub] = share
					case seen[hub] < share:
						take := min(share-seen[hub], free)
						free -= take
						moved += take
						holds[hub] += take
					}
				}
			}
		}
		require.Zero(rt, free)
		for hub, has := range holds {
			require.Equal(rt, Share(total, holds, hub), has, "%s of %v", hub, holds)
		}
		require.Equal(rt, missing, moved, "nothing is taken that is given again")
	})
}
