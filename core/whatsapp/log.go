package whatsapp

import (
	"fmt"
	"log/slog"

	waLog "go.mau.fi/whatsmeow/util/log"
)

// quiet passes whatsmeow's warnings on. What it logs for debugging holds whole
// stanzas and pairing codes, and is dropped.
type quiet struct{ log *slog.Logger }

// detailLimit keeps a stanza that a warning quotes from filling the log.
const detailLimit = 200

func (q quiet) pass(format string, args []any) {
	s := fmt.Sprintf(format, args...)
	if len(s) > detailLimit {
		s = s[:detailLimit] + "…"
	}
	q.log.Warn("whatsmeow warns", "detail", s)
}

func (q quiet) Warnf(format string, args ...any)  { q.pass(format, args) }
func (q quiet) Errorf(format string, args ...any) { q.pass(format, args) }
func (q quiet) Infof(string, ...any)              {}
func (q quiet) Debugf(string, ...any)             {}
func (q quiet) Sub(string) waLog.Logger           { return q }
