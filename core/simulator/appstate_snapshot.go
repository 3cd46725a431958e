package simulator

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waServerSync"
)

// snapshot puts all of a collection on the media host and returns the reference to it. What
// it says follows from the patches without their keys: the newest record of each index, under the
// checksum that the last patch carries (whatsmeow's appstate/decode.go, decodeSnapshot). The lock
// is held.
func (st *appState) snapshot(c *collection) ([]byte, error) {
	var order []string
	records := map[string]*waServerSync.SyncdRecord{}
	snapshot := &waServerSync.SyncdSnapshot{}
	for _, raw := range c.patches {
		patch := new(waServerSync.SyncdPatch)
		if err := proto.Unmarshal(raw, patch); err != nil {
			return nil, fmt.Errorf("parse patch: %w", err)
		}
		for _, m := range patch.GetMutations() {
			index := string(m.GetRecord().GetIndex().GetBlob())
			if m.GetOperation() == waServerSync.SyncdMutation_REMOVE {
				delete(records, index)
				continue
			}
			records[index] = m.GetRecord()
			order = append(order, index)
		}
		snapshot.Version, snapshot.Mac, snapshot.KeyID = patch.GetVersion(), patch.GetSnapshotMAC(), patch.GetKeyID()
	}
	for _, index := range order {
		if record := records[index]; record != nil {
			snapshot.Records = append(snapshot.Records, record)
			delete(records, index)
		}
	}
	plain, err := proto.Marshal(snapshot)
	if err != nil {
		return nil, fmt.Errorf("marshal snapshot: %w", err)
	}
	up, err := st.a.s.uploadMedia(whatsmeow.MediaAppState, bytes.NewReader(plain))
	if err != nil {
		return nil, fmt.Errorf("upload snapshot: %w", err)
	}
	ref, err := proto.Marshal(&waServerSync.ExternalBlobReference{
		MediaKey: up.Key, DirectPath: &up.DirectPath, FileSizeBytes: &up.Size,
		FileSHA256: up.SHA256, FileEncSHA256: up.EncSHA256,
	})
	if err != nil {
		return nil, fmt.Errorf("marshal snapshot: %w", err)
	}
	return ref, nil
}
