package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/store"
)

// Where the target keeps which ids were made up, by the old ones, as one JSON object. It
// goes along when a hub's data is moved, so that an import can be repeated after that.
const (
	importNamespace = "import"
	namesKey        = "accounts"
)

// readAccounts reads the source's accounts, under the ids that earlier imports have given
// them. What is made up now is kept before anything is written under it.
func (i *importing) readAccounts(ctx context.Context) ([]legacy.Account, []legacy.Skipped, error) {
	made, err := madeNames(ctx, i.to.Store)
	if err != nil {
		return nil, nil, err
	}
	have, err := i.to.Store.ListAccounts(ctx)
	if err != nil {
		return nil, nil, err
	}
	taken := make(map[string]bool, len(have))
	for _, a := range have {
		taken[a.ID] = true
	}
	before := maps.Clone(made)
	all, skipped, err := i.from.Accounts(ctx, legacy.Names{Made: made, Taken: func(id string) bool { return taken[id] }})
	if err != nil || maps.Equal(before, made) {
		return all, skipped, err
	}
	b, err := json.Marshal(made)
	if err == nil {
		err = i.to.Store.SetKV(ctx, importNamespace, namesKey, b, 0)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("keep the accounts' new ids: %w", err)
	}
	return all, skipped, nil
}

func madeNames(ctx context.Context, s store.KV) (map[string]string, error) {
	made := map[string]string{}
	b, err := s.GetKV(ctx, importNamespace, namesKey)
	if errors.Is(err, store.ErrNotFound) {
		return made, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &made)
	}
	if err != nil {
		return nil, fmt.Errorf("read the accounts' new ids: %w", err)
	}
	return made, nil
}
