package soak

import (
	"fmt"
	"strings"
	"sync"
	"time"

	waLog "go.mau.fi/whatsmeow/util/log"
)

// warnings keeps what whatsmeow warns of, for whoever looks into a failure. Nothing in it
// is a secret: all numbers, keys and texts are made up.
type warnings struct {
	mu   sync.Mutex
	list strings.Builder
}

func (w *warnings) add(who, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.list, "%s %s: %s\n", time.Now().Format("15:04:05.000"), who, fmt.Sprintf(format, args...))
}

// Write takes a line of the simulator's log.
func (w *warnings) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list.Write(line)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list.String()
}

type warner struct {
	w   *warnings
	who string
}

var _ waLog.Logger = warner{}

func (l warner) Warnf(format string, args ...any)  { l.w.add(l.who, format, args...) }
func (l warner) Errorf(format string, args ...any) { l.w.add(l.who, format, args...) }
func (warner) Infof(string, ...any)                {}
func (warner) Debugf(string, ...any)               {}
func (l warner) Sub(module string) waLog.Logger    { return warner{l.w, l.who + "/" + module} }
