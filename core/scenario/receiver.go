package scenario

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const pairTimeout = 30 * time.Second

// Arrival is one event as a receiver got it.
type Arrival struct {
	ID     string
	Chat   string
	Seq    uint64
	FromMe bool
	Text   string
	At     time.Time
}

// Receiver is a webhook receiver that verifies every signature.
type Receiver struct {
	URL string

	server *http.Server
	done   chan struct{}
	mu     sync.Mutex
	key    []byte
	got    []Arrival
	bad    []string
	status int
}

// StartReceiver listens on a free loopback port.
func StartReceiver() (*Receiver, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // immediate
	if err != nil {
		return nil, fmt.Errorf("start receiver: %w", err)
	}
	r := &Receiver{URL: "http://" + ln.Addr().String() + "/hook", done: make(chan struct{})}
	r.server = &http.Server{Handler: http.HandlerFunc(r.serve), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(r.done)
		_ = r.server.Serve(ln)
	}()
	return r, nil
}

// Close stops it.
func (r *Receiver) Close() {
	_ = r.server.Close()
	<-r.done
}

// SetSecret sets the secret that requests are signed with.
func (r *Receiver) SetSecret(secret string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return errors.New("the secret is not whsec_ and base64")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.key = key
	return nil
}

// Answer makes it answer with a status instead of 200; 0 ends that.
func (r *Receiver) Answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// Arrivals returns what came, in order, repetitions included.
func (r *Receiver) Arrivals() []Arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Arrival(nil), r.got...)
}

// Bad returns what was wrong with requests that did not verify.
func (r *Receiver) Bad() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bad...)
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	if err := verify(r.key, req.Header, body); err != nil {
		r.bad = append(r.bad, err.Error())
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var flat struct {
		ChatID string `json:"chatId"`
		Seq    uint64 `json:"seq"`
		FromMe bool   `json:"fromMe"`
		Text   string `json:"text"`
	}
	if err := json.Unmarshal(body, &flat); err != nil {
		r.bad = append(r.bad, "body: "+err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.got = append(r.got, Arrival{ID: req.Header.Get("webhook-id"), Chat: flat.ChatID, Seq: flat.Seq, FromMe: flat.FromMe, Text: flat.Text, At: time.Now()})
}

// verify checks a Standard Webhooks signature. Written here on purpose and not taken
// from the sender's code, so that an error in one does not hide in the other.
func verify(key []byte, h http.Header, body []byte) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if _, err := strconv.ParseInt(stamp, 10, 64); err != nil || id == "" {
		return errors.New("webhook-id or webhook-timestamp is missing")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, got := range strings.Fields(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(got), []byte(want)) {
			return nil
		}
	}
	return errors.New("the signature does not verify")
}

// ReadLines reads the file of the example connector.
func ReadLines(path string) ([]Arrival, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []Arrival
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		var line struct {
			ID    string `json:"id"`
			Chat  string `json:"chat"`
			Seq   uint64 `json:"seq"`
			Event struct {
				Message struct {
					Text   string `json:"text"`
					FromMe bool   `json:"from_me"`
				} `json:"message"`
			} `json:"event"`
		}
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, len(out)+1, err)
		}
		out = append(out, Arrival{ID: line.ID, Chat: line.Chat, Seq: line.Seq, FromMe: line.Event.Message.FromMe, Text: line.Event.Message.Text})
	}
	return out, sc.Err()
}

func sumMetric(text, prefix string) (float64, error) {
	var sum float64
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", prefix, err)
		}
		sum += v
	}
	return sum, nil
}
