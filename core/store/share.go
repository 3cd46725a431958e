package store

import (
	"cmp"
	"maps"
	"slices"
)

// Share is how many of total things that hubs share under leases one of them is to hold, where
// holds is how many each hub that lives has by now. All shares together are total, and none is
// greater than another by more than one; the greater ones belong to those who hold most, so that
// hubs that see the same agree about who gives and who takes, and as little as possible moves.
//
// Without that agreement several hubs give the one thing that another lacks, and take again what
// is too much, without end.
func Share(total int, holds map[string]int, hub string) int {
	least, greater := total/len(holds), total%len(holds)
	hubs := slices.SortedFunc(maps.Keys(holds), func(a, b string) int {
		return cmp.Or(cmp.Compare(min(holds[b], least+1), min(holds[a], least+1)), cmp.Compare(a, b))
	})
	if slices.Index(hubs, hub) < greater {
		return least + 1
	}
	return least
}
