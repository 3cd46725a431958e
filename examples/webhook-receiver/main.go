// SPDX-License-Identifier: Apache-2.0

// Command webhook-receiver shows what a receiver of Wildcat's webhooks has to do:
// verify the signature over the raw body, recognise repetitions by webhook-id, make
// the event durable, and only then answer 2xx. It needs nothing but Go.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen on; port 0 takes any free one")
	secret := flag.String("secret", os.Getenv("WEBHOOK_SECRET"), "the webhook's secret, whsec_…; default $WEBHOOK_SECRET")
	out := flag.String("out", "", "append events to this file, one JSON object a line; default: print them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *secret, *out, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, secret, out string, stdout io.Writer) error {
	key, err := parseSecret(secret)
	if err != nil {
		return err
	}
	l := newLog(stdout, nil)
	if out != "" {
		f, err := os.OpenFile(out, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		l = newLog(f, f.Sync)
		if err := l.load(f); err != nil {
			return fmt.Errorf("read %s: %w", out, err)
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stdout, "listening on http://%s\n", ln.Addr())
	srv := &http.Server{Handler: &receiver{key: key, log: l, now: time.Now}, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		wait, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- srv.Shutdown(wait)
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// maxBody is more than any event has.
const maxBody = 1 << 20

type receiver struct {
	key []byte
	log *eventLog
	now func() time.Time
}

// line is what is written for each event.
type line struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Attempt string          `json:"attempt"`
	Event   json.RawMessage `json:"event"`
}

// ServeHTTP takes one event. Whatever is not 2xx makes the hub try again.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		http.Error(w, "POST events here", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "body not readable", http.StatusBadRequest)
		return
	}
	if err := verify(r.key, req.Header, body, r.now()); err != nil {
		log.Printf("refused: %v", err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	err = r.log.append(line{
		ID: req.Header.Get("webhook-id"), Type: req.Header.Get("X-Wildcat-Event"),
		Attempt: req.Header.Get("X-Wildcat-Attempt"), Event: compact.Bytes(),
	})
	if err != nil {
		log.Printf("not written: %v", err)
		http.Error(w, "not written", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
