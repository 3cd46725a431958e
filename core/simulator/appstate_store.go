package simulator

import (
	"bytes"
	"context"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/store"
)

// stateStore keeps what whatsmeow's decoder of app state needs. The lock of its [appState]
// guards it; nothing of it is written, since it follows from the patches and the keys.
type stateStore struct {
	keys     map[string]store.AppStateSyncKey
	versions map[string]appstate.HashState
	macs     map[string]map[string][]byte // by collection and index
}

var (
	_ store.AppStateStore        = (*stateStore)(nil)
	_ store.AppStateSyncKeyStore = (*stateStore)(nil)
)

func newStateStore() *stateStore {
	return &stateStore{
		keys: map[string]store.AppStateSyncKey{}, versions: map[string]appstate.HashState{}, macs: map[string]map[string][]byte{},
	}
}

func (s *stateStore) version(name appstate.WAPatchName) appstate.HashState {
	return s.versions[string(name)]
}

// latest is the id of the newest key, nil for none.
func (s *stateStore) latest() []byte {
	var newest []byte
	for id := range s.keys {
		if newest == nil || bytes.Compare([]byte(id)[2:], newest[2:]) > 0 { // the epoch follows the device
			newest = []byte(id)
		}
	}
	return newest
}

func (s *stateStore) PutAppStateSyncKey(_ context.Context, id []byte, key store.AppStateSyncKey) error {
	s.keys[string(id)] = key
	return nil
}

func (s *stateStore) GetAppStateSyncKey(_ context.Context, id []byte) (*store.AppStateSyncKey, error) {
	if key, ok := s.keys[string(id)]; ok {
		return &key, nil
	}
	return nil, nil
}

func (s *stateStore) GetLatestAppStateSyncKeyID(context.Context) ([]byte, error) {
	return s.latest(), nil
}

func (s *stateStore) PutAppStateVersion(_ context.Context, name string, version uint64, hash [128]byte) error {
	s.versions[name] = appstate.HashState{Version: version, Hash: hash}
	return nil
}

func (s *stateStore) GetAppStateVersion(_ context.Context, name string) (uint64, [128]byte, error) {
	v := s.versions[name]
	return v.Version, v.Hash, nil
}

func (s *stateStore) DeleteAppStateVersion(_ context.Context, name string) error {
	delete(s.versions, name)
	return nil
}

func (s *stateStore) PutAppStateMutationMACs(_ context.Context, name string, _ uint64, mutations []store.AppStateMutationMAC) error {
	if s.macs[name] == nil {
		s.macs[name] = map[string][]byte{}
	}
	for _, m := range mutations {
		s.macs[name][string(m.IndexMAC)] = m.ValueMAC
	}
	return nil
}

func (s *stateStore) DeleteAppStateMutationMACs(_ context.Context, name string, indexes [][]byte) error {
	for _, index := range indexes {
		delete(s.macs[name], string(index))
	}
	return nil
}

func (s *stateStore) GetAppStateMutationMAC(_ context.Context, name string, index []byte) ([]byte, error) {
	return s.macs[name][string(index)], nil
}
