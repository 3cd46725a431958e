package simulator

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/appstate"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/proto/waSyncAction"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// patchesAtOnce is how many patches one answer carries; the client asks for the rest. One that
// has nothing gets a snapshot instead where there are more.
const patchesAtOnce = 50

var errPatchRefused = errors.New("patch does not verify")

// appState is what an account's devices agree on: contacts, and how chats are shown. The
// server keeps it as five collections of encrypted patches; the phone, which shares this struct,
// has the keys and knows what they say. On disk a patch is as/NUMBER/COLLECTION/VERSION and a
// key ak/NUMBER/ID, and everything else follows from them.
type appState struct {
	a *account

	mu          sync.Mutex // held until a change is durable
	collections map[appstate.WAPatchName]*collection
	store       *stateStore
	proc        *appstate.Processor
	values      map[string]*waSyncAction.SyncActionValue // by index, joined
	name        string                                   // that a patch which is being accepted gives the account
	changed     chan struct{}                            // closed at the next change; nil while nobody waits
}

// collection is the server's half: patch n of patches made version n+1.
type collection struct{ patches [][]byte }

func (c *collection) version() uint64 { return uint64(len(c.patches)) }

// open makes the maps, which an account that nobody linked a companion to never needs; mu is held.
func (st *appState) open() {
	if st.collections != nil {
		return
	}
	st.collections = map[appstate.WAPatchName]*collection{}
	for _, name := range appstate.AllPatchNames {
		st.collections[name] = new(collection)
	}
	st.store = newStateStore()
	st.proc = appstate.NewProcessor(&store.Device{AppState: st.store, AppStateKeys: st.store}, waLog.Noop)
	st.values = map[string]*waSyncAction.SyncActionValue{}
}

// accept takes the next patch of a collection, a companion's or, with by nil, the phone's
// own. It verifies the patch as a phone does, and tells the other companions; mu is held.
func (st *appState) accept(o *outgoing, name appstate.WAPatchName, patch *waServerSync.SyncdPatch, by *Device) error {
	ctx, c := context.Background(), st.collections[name]
	patch.Version = &waServerSync.SyncdVersion{Version: proto.Uint64(c.version() + 1)}
	raw, err := proto.Marshal(patch)
	if err != nil {
		return fmt.Errorf("%w: %w", errPatchRefused, err)
	}
	if err = st.apply(ctx, name, patch, raw); err != nil {
		return err
	}
	o.b.put(patchKey(st.a.number, name, c.version()), raw)
	if by == nil && c.version() == 1 {
		return nil // what the phone begins with is asked for by whom it hands the keys
	}
	for _, d := range st.a.all() {
		if d.id != 0 && d != by {
			o.add(d, o.notice("server_sync", types.ServerJID, waBinary.Node{
				Tag:   "collection",
				Attrs: waBinary.Attrs{"name": string(name), "version": strconv.FormatUint(c.version(), 10)},
			}))
		}
	}
	return nil
}

// apply decrypts a patch and adds it; mu is held.
func (st *appState) apply(ctx context.Context, name appstate.WAPatchName, patch *waServerSync.SyncdPatch, raw []byte) (err error) {
	// The decoder indexes blobs without looking at their length.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPatchRefused, r)
		}
	}()
	before := st.store.version(name)
	list := &appstate.PatchList{Name: name, Patches: []*waServerSync.SyncdPatch{patch}}
	mutations, _, err := st.proc.DecodePatches(ctx, list, before, true)
	if err != nil {
		return fmt.Errorf("%w: %w", errPatchRefused, err)
	}
	for _, m := range mutations {
		if key := indexKey(m.Index...); m.Operation == waServerSync.SyncdMutation_SET {
			st.values[key] = m.Action
			if setting := m.Action.GetPushNameSetting(); setting.GetName() != "" {
				st.name = setting.GetName()
			}
		} else {
			delete(st.values, key)
		}
	}
	c := st.collections[name]
	c.patches = append(c.patches, raw)
	return nil
}

func (s *Server) loadStateKey(parts []string, value []byte) error {
	a := s.byNumber[parts[1]]
	if a == nil {
		return ErrUnknownNumber
	}
	var key store.AppStateSyncKey
	if err := json.Unmarshal(value, &key); err != nil {
		return err
	}
	id, err := hex.DecodeString(parts[2])
	if err != nil {
		return err
	}
	a.state.open()
	return a.state.store.PutAppStateSyncKey(context.Background(), id, key)
}

func (s *Server) loadPatch(parts []string, value []byte) error {
	a := s.byNumber[parts[1]]
	if a == nil {
		return ErrUnknownNumber
	}
	patch := new(waServerSync.SyncdPatch)
	if err := proto.Unmarshal(value, patch); err != nil {
		return err
	}
	a.state.open()
	name := appstate.WAPatchName(parts[2])
	if a.state.collections[name] == nil {
		return fmt.Errorf("collection %q: %w", name, errPatchRefused)
	}
	err := a.state.apply(context.Background(), name, patch, value)
	a.state.name = "" // the account has it already, or a newer one
	return err
}

func patchKey(number string, name appstate.WAPatchName, version uint64) string {
	return fmt.Sprintf("as/%s/%s/%016x", number, name, version)
}

// indexKey files a value by what it is about.
func indexKey(index ...string) string { return strings.Join(index, "\x00") }

// handleAppState answers with patches and takes new ones, a collection at a time
// (whatsmeow's appstate.go, fetchAppStatePatches and sendAppState).
func (s *Server) handleAppState(c *conn, iq *waBinary.Node) ([]waBinary.Node, error) {
	st := &c.dev.acct.state
	sync := iq.GetChildByTag("sync")
	var content []waBinary.Node
	for _, asked := range sync.GetChildren() {
		if asked.Tag != "collection" {
			continue
		}
		answer, err := st.answer(c.dev, &asked)
		if err != nil {
			return nil, err
		}
		content = append(content, answer)
	}
	return []waBinary.Node{{Tag: "sync", Content: content}}, nil
}

func (st *appState) answer(d *Device, asked *waBinary.Node) (waBinary.Node, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.open()
	name := appstate.WAPatchName(text(asked, "name"))
	c := st.collections[name]
	out := waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": string(name)}}
	if c == nil {
		return refusedCollection(out, errNotFound), nil
	}
	from, _ := strconv.ParseUint(text(asked, "version"), 10, 64) // absent is 0: from the beginning
	if patch, ok := asked.GetOptionalChildByTag("patch"); ok {
		if from != c.version() {
			// Somebody else was first: the client takes what it missed, and tries again.
			return refusedCollection(st.patches(out, c, from), errConflict), nil
		}
		raw, _ := patch.Content.([]byte)
		err := st.take(d, name, raw)
		if errors.Is(err, errPatchRefused) {
			st.a.s.log.Warn("app state patch refused", "account", st.a.number, "device", d.id, "err", err)
			return refusedCollection(out, errBadRequest), nil
		} else if err != nil {
			return out, err
		}
		out.Attrs["version"] = strconv.FormatUint(c.version(), 10)
		return out, nil
	}
	if text(asked, "return_snapshot") == "true" && c.version() > patchesAtOnce {
		ref, err := st.snapshot(c)
		if err != nil {
			return out, err
		}
		out = st.patches(out, c, c.version())
		out.Content = []waBinary.Node{{Tag: "snapshot", Content: ref}}
		return out, nil
	}
	return st.patches(out, c, from), nil
}

// take accepts a companion's patch; mu is held.
func (st *appState) take(d *Device, name appstate.WAPatchName, raw []byte) error {
	patch := new(waServerSync.SyncdPatch)
	if err := proto.Unmarshal(raw, patch); err != nil {
		return fmt.Errorf("%w: %w", errPatchRefused, err)
	}
	if len(patch.GetMutations()) == 0 {
		return fmt.Errorf("%w: no mutations", errPatchRefused)
	}
	o := st.a.s.outgoing(st.a.s.begin())
	if err := st.accept(o, name, patch, d); err != nil {
		return err
	}
	return st.commit(o)
}

// commit makes o durable and shows it; mu is held.
func (st *appState) commit(o *outgoing) error {
	// The name first: others learn it from the next message, companions from the patch.
	if st.name != "" {
		if err := st.a.rename(st.name); err != nil {
			return err
		}
		st.name = ""
	}
	if err := o.commit(); err != nil {
		return err
	}
	if st.changed != nil {
		close(st.changed)
		st.changed = nil
	}
	return nil
}

// patches adds what came after a version, as much as one answer carries; mu is held.
func (st *appState) patches(out waBinary.Node, c *collection, from uint64) waBinary.Node {
	from = min(from, c.version())
	end := min(from+patchesAtOnce, c.version())
	var list []waBinary.Node
	for _, raw := range c.patches[from:end] {
		list = append(list, waBinary.Node{Tag: "patch", Content: raw})
	}
	out.Attrs["version"] = strconv.FormatUint(end, 10)
	if end < c.version() {
		out.Attrs["has_more_patches"] = "true"
	}
	if list != nil {
		out.Content = []waBinary.Node{{Tag: "patches", Content: list}}
	}
	return out
}

// refusedCollection turns an answer for one collection into an error.
func refusedCollection(out waBinary.Node, err *iqError) waBinary.Node {
	out.Attrs["type"] = "error"
	out.Content = append([]waBinary.Node{err.node()}, out.GetChildren()...)
	return out
}
