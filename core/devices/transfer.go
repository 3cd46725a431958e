package devices

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/devices/rows"
)

// ExportKeys calls each for every row of a table that belongs to the device, or, for
// rows.LIDs, for all of its rows. Nothing else may use the keys meanwhile.
func (c *Container) ExportKeys(ctx context.Context, jid string, t rows.Table, each func(rows.Row) error) error {
	if err := c.backend.Export(ctx, jid, t, each); err != nil {
		return fmt.Errorf("export keys (%s): %w", t.Name, err)
	}
	return nil
}

// ImportKeys writes rows of a table as they are, replacing those that are there. All
// belong to one device of the owner's; the tables come in the order of rows.Tables.
func (c *Container) ImportKeys(ctx context.Context, jid string, o Owner, t rows.Table, page []rows.Row) error {
	if len(page) == 0 {
		return nil
	}
	if err := c.backend.Import(ctx, jid, o, t, page); err != nil {
		return fmt.Errorf("import keys (%s): %w", t.Name, err)
	}
	return nil
}

// keepEvents is how long a buffered event is kept, as whatsmeow does.
const keepEvents = 14 * 24 * time.Hour

// Export implements backend.
func (b *sqliteBackend) Export(ctx context.Context, jid string, t rows.Table, each func(rows.Row) error) error {
	query := "SELECT " + strings.Join(t.Columns, ", ") + " FROM whatsmeow_" + t.Name
	var args []any
	if t.Name != rows.LIDs {
		query, args = query+" AS t WHERE "+t.Columns[0]+" = $1", append(args, jid)
	}
	switch t.Name {
	case rows.MACs:
		query += ` AND version = (SELECT max(version) FROM whatsmeow_app_state_mutation_macs o
			WHERE o.jid = t.jid AND o.name = t.name AND o.index_mac = t.index_mac)`
	case rows.Events:
		query, args = query+" AND insert_timestamp > $2", append(args, time.Now().Add(-keepEvents).UnixMilli())
	}
	found, err := b.db.RawDB.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		row, dest := make(rows.Row, len(t.Columns)), make([]any, len(t.Columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := found.Scan(dest...); err != nil {
			return err
		}
		for i, column := range t.Columns {
			if row[i], err = plainValue(t.Name, column, row[i]); err != nil {
				return err
			}
		}
		if err := each(row); err != nil {
			return err
		}
	}
	return found.Err()
}

// plainValue is a value in the one form that all engines have.
func plainValue(table, column string, v any) (any, error) {
	number, isNumber := v.(int64)
	switch kindOf(table, column) {
	case aTruth:
		if b, ok := v.(bool); ok {
			return b, nil
		}
		return number != 0, nil
	case aNumber:
		if isNumber || v == nil {
			return number, nil
		}
	case someBytes:
		if b, ok := v.([]byte); ok && len(b) > 0 {
			return b, nil
		} else if ok || v == nil {
			return []byte(nil), nil
		}
	case aText:
		switch v := v.(type) {
		case nil:
			return "", nil
		case string:
			return v, nil
		case []byte:
			return string(v), nil
		}
	}
	return nil, fmt.Errorf("column %s holds %T", column, v)
}

type valueKind int

const (
	aText valueKind = iota
	aNumber
	aTruth
	someBytes
)

func kindOf(table, column string) valueKind {
	switch column {
	case "key_id":
		if table == rows.PreKeys {
			return aNumber
		}
	case "uploaded", "pinned", "archived":
		return aTruth
	case "registration_id", "signed_pre_key_id", "lid_migration_ts", "version", "timestamp", "muted_until", "server_timestamp", "insert_timestamp":
		return aNumber
	case "jid", "our_jid", "their_jid", "their_id", "lid", "pn", "facebook_uuid", "platform", "business_name", "push_name", "chat_id",
		"sender_id", "name", "first_name", "full_name", "redacted_phone", "chat_jid", "sender_jid", "message_id":
		return aText
	}
	return someBytes
}

// Import implements backend.
func (b *sqliteBackend) Import(ctx context.Context, _ string, _ Owner, t rows.Table, page []rows.Row) (err error) {
	marks, sets := make([]string, len(t.Columns)), []string(nil)
	for i, c := range t.Columns {
		marks[i] = "?"
		if i >= t.Key {
			sets = append(sets, c+" = excluded."+c)
		}
	}
	// The conflict clause names the key: replacing a device's row would remove its keys.
	query := "INSERT INTO whatsmeow_" + t.Name + " (" + strings.Join(t.Columns, ", ") + ") VALUES (" + strings.Join(marks, ", ") +
		") ON CONFLICT (" + strings.Join(t.Columns[:t.Key], ", ") + ") DO UPDATE SET " + strings.Join(sets, ", ")
	tx, err := b.db.RawDB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback()
		}
	}()
	for _, row := range page {
		args := make([]any, len(row))
		for i, column := range t.Columns {
			switch b, isBytes := row[i].([]byte); {
			case column == "facebook_uuid" && row.Str(i) == "":
			case isBytes && len(b) == 0 && column != "plaintext": // no bytes are not null but there
				args[i] = []byte{}
			default:
				args[i] = row[i]
			}
		}
		if t.Name == rows.LIDs { // a number that another LID had
			if _, err = tx.ExecContext(ctx, "DELETE FROM whatsmeow_lid_map WHERE pn = ? AND lid <> ?", row.Str(1), row.Str(0)); err != nil {
				return err
			}
		}
		if _, err = tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
