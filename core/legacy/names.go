package legacy

import (
	"fmt"
	"maps"
	"regexp"

	"github.com/wildcathub/wildcat/core/config"
)

// Names says what the hub calls the accounts of the old service.
type Names struct {
	// Made are the ids that were made up for those whose own cannot stay, by the old ones.
	// Ids that are made up are added. Whoever goes on with an import must keep them: were
	// they made up anew, another account could get the id, and its messages be mixed with
	// those that are there.
	Made map[string]string
	// Taken tells of an id whether the target has an account of it.
	Taken func(id string) bool
}

var badID = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// of names accounts: by what was made up before, by their own ids where these can stay, and
// else by ones that are like them and are nobody's, here or in the target.
func (n Names) of(old []string) map[string]string {
	used := map[string]bool{} // by those that are called otherwise in the source
	for id := range maps.Values(n.Made) {
		used[id] = true
	}
	names := map[string]string{}
	var odd []string
	for _, id := range old {
		switch made, known := n.Made[id]; {
		case known:
			names[id] = made
		case config.AccountID(id) && !used[id]:
			names[id] = id
		default:
			odd = append(odd, id)
		}
	}
	for _, id := range names {
		used[id] = true
	}
	for _, id := range odd {
		if names[id] != "" {
			continue // it is there twice
		}
		const room = 58 // of 64, for a number
		like := badID.ReplaceAllString(id, "_")
		like = like[:min(len(like), room)]
		made := like
		for i := 2; used[made] || n.Taken(made); i++ {
			made = fmt.Sprintf("%s_%d", like, i)
		}
		used[made], names[id], n.Made[id] = true, made, made
	}
	return names
}
