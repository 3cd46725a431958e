package connector

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	outputLine = 2 << 10 // what is logged of a line, in bytes
	outputTail = 20      // lines kept to explain an exit
	outputHead = 512     // bytes of standard output kept to explain a failed handshake
	handshake  = 16 << 10
)

// output logs what a program prints, at a bounded rate and in bounded pieces, and
// reads on whatever happens: a program never waits for its log.
type output struct {
	log   *slog.Logger
	limit *rate.Limiter
	now   func() time.Time

	mu      sync.Mutex
	dropped int
	tail    []string
	head    []byte
}

func newOutput(log *slog.Logger, now func() time.Time) *output {
	return &output{log: log, limit: rate.NewLimiter(50, 200), now: now}
}

// pump reads r to its end. If first is given, the first line goes there, as it is,
// and is not logged.
func (o *output) pump(r io.Reader, stream string, first io.Writer) {
	w := &lines{limit: outputLine, emit: func(line []byte, cut bool) { o.line(stream, line, cut) }}
	if first != nil {
		w.limit = handshake
		log := w.emit
		w.emit = func(line []byte, _ bool) {
			w.limit, w.emit = outputLine, log
			_, _ = first.Write(append(line, '\n')) // fails when go-plugin has stopped reading
		}
	}
	buf := make([]byte, 8<<10)
	for {
		n, err := r.Read(buf)
		if first != nil {
			o.remember(buf[:n])
		}
		_, _ = w.Write(buf[:n])
		if err != nil {
			w.end()
			return
		}
	}
}

// writer takes what arrives over gRPC from programs whose library forwards it so.
func (o *output) writer(stream string) io.Writer {
	return &lines{limit: outputLine, emit: func(line []byte, cut bool) { o.line(stream, line, cut) }}
}

func (o *output) remember(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if room := outputHead - len(o.head); room > 0 {
		o.head = append(o.head, b[:min(room, len(b))]...)
	}
}

func (o *output) line(stream string, line []byte, cut bool) {
	text := strings.ToValidUTF8(strings.TrimRight(string(line), "\r"), "\uFFFD")
	if text == "" {
		return
	}
	o.mu.Lock()
	o.tail = append(o.tail, text)
	if len(o.tail) > outputTail {
		o.tail = o.tail[len(o.tail)-outputTail:]
	}
	if !o.limit.AllowN(o.now(), 1) {
		o.dropped++
		o.mu.Unlock()
		return
	}
	dropped := o.dropped
	o.dropped = 0
	o.mu.Unlock()
	if dropped > 0 {
		o.log.Warn("connector prints too much", "lines_dropped", dropped)
	}
	o.log.Info("connector output", "stream", stream, "line", text, "cut", cut)
}

// printed is the beginning of standard output.
func (o *output) printed() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.ToValidUTF8(string(o.head), "\uFFFD")
}

// lastWords is the line that best explains an exit: a panic's first, else the last.
func (o *output) lastWords() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.tail {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return l
		}
	}
	if len(o.tail) == 0 {
		return ""
	}
	return o.tail[len(o.tail)-1]
}

// lines cuts a byte stream into lines of at most limit bytes; the rest of a longer
// line is skipped.
type lines struct {
	limit int
	emit  func(line []byte, cut bool)
	buf   []byte
	cut   bool
}

// Write implements io.Writer; it never fails.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		part := b
		if i >= 0 {
			part = b[:i]
		}
		if room := l.limit - len(l.buf); len(part) > room {
			part, l.cut = part[:max(0, room)], true
		}
		l.buf = append(l.buf, part...)
		if i < 0 {
			break
		}
		l.flush()
		b = b[i+1:]
	}
	return n, nil
}

func (l *lines) flush() {
	line, cut := l.buf, l.cut
	l.buf, l.cut = nil, false
	l.emit(line, cut)
}

func (l *lines) end() {
	if len(l.buf) > 0 {
		l.flush()
	}
}
