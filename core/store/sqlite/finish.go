package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// maxAttempts is how many attempts a delivery remembers.
const maxAttempts = 25

// The usual outcome is the first one that is recorded, so that is one statement; the
// others need to read what is there (see appendRecord).
const (
	finishSet = `UPDATE deliveries SET state = ?1, attempt = attempt + ?2, due = ?3, epoch = ?4, reason = ?5,
		stepped = max(stepped, ?6), updated_at = ?7`
	finishWhere       = ` WHERE id = ?8 AND state = 0 AND generation = ?9 AND attempt = ?10 AND epoch <= ?4`
	finishPlain       = finishSet + finishWhere
	finishFirstRecord = finishSet + `, attempts = ?11` + finishWhere + ` AND attempts IS NULL`
	finishNextRecord  = finishSet + `, attempts = ?11` + finishWhere
)

// FinishDeliveries implements store.Deliveries.
func (s *Store) FinishDeliveries(ctx context.Context, f []store.DeliveryFinish) ([]string, error) {
	if len(f) == 0 {
		return nil, nil
	}
	records := make([][]byte, len(f))
	size := 128 * len(f)
	for i := range f {
		if err := deliveryStates.known(f[i].State); err != nil {
			return nil, fmt.Errorf("finish delivery %s: %w", f[i].ID, err)
		}
		if f[i].Record == nil {
			continue
		}
		var err error
		if records[i], err = json.Marshal(f[i].Record); err != nil {
			return nil, fmt.Errorf("finish delivery %s: encode attempt: %w", f[i].ID, err)
		}
		size += len(records[i])
	}
	now := ms(s.now())
	var missed []string
	err := s.writePatiently(ctx, size, func(t *tx) error {
		missed = nil
		for i := range f {
			ok, err := finish(t, &f[i], records[i], now)
			if err != nil {
				return fmt.Errorf("delivery %s: %w", f[i].ID, err)
			}
			if !ok {
				missed = append(missed, f[i].ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finish deliveries: %w", err)
	}
	return missed, nil
}

// finish writes one outcome and tells whether it was still awaited.
func finish(t *tx, f *store.DeliveryFinish, record []byte, now int64) (bool, error) {
	if !f.At.IsZero() {
		now = ms(f.At)
	}
	args := []any{
		deliveryStates.number(f.State), f.Counted, ms(f.Due), f.Epoch, f.Reason,
		f.Stepped, now, packID(f.ID), f.Generation, f.Attempt,
	}
	if record == nil {
		n, err := t.exec(finishPlain, args...)
		return n == 1, err
	}
	n, err := t.exec(finishFirstRecord, append(args, record)...)
	if err != nil || n == 1 {
		return n == 1, err
	}
	var old []byte
	if _, err := t.row(`SELECT attempts FROM deliveries WHERE id = ?`, []any{packID(f.ID)}, &old); err != nil || old == nil {
		return false, err
	}
	n, err = t.exec(finishNextRecord, append(args, appendRecord(old, record))...)
	return n == 1, err
}

// appendRecord adds a line to the attempts and lets the oldest go. JSON never
// contains a bare line feed, so nothing has to be decoded for that.
func appendRecord(old, record []byte) []byte {
	for bytes.Count(old, []byte{'\n'})+1 >= maxAttempts {
		_, old, _ = bytes.Cut(old, []byte{'\n'})
	}
	out := make([]byte, 0, len(old)+1+len(record))
	out = append(out, old...)
	out = append(out, '\n')
	return append(out, record...)
}

func decodeAttempts(b []byte) ([]store.Attempt, error) {
	if len(b) == 0 {
		return nil, nil
	}
	lines := bytes.Split(b, []byte{'\n'})
	out := make([]store.Attempt, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
