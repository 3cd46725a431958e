// SPDX-License-Identifier: Apache-2.0

package sdktest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/sdktest"
)

// faultEnv makes the connector below faulty, in a copy of this test binary.
const faultEnv = "SDKTEST_FAULT"

// sample is a connector that passes, unless it is told a fault.
type sample struct {
	fault string
	mu    sync.Mutex
	calls int
	keep  context.Context //nolint:containedctx // that is the fault
	host  sdk.Host
}

func create() sdk.Connector { return &sample{fault: os.Getenv(faultEnv)} }

func (s *sample) Info() sdk.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sdk.Info{Type: "sample", Version: "1", Doc: "passes", InFlight: 4}
	if s.calls++; s.fault == "info" && s.calls > 1 {
		i.Doc = "changes"
	}
	return i
}

func (s *sample) Configure(with json.RawMessage) error {
	var cfg struct{}
	d := json.NewDecoder(bytes.NewReader(with))
	if s.fault != "lax" {
		d.DisallowUnknownFields()
	}
	return d.Decode(&cfg)
}

func (s *sample) Start(ctx context.Context, h sdk.Host) error {
	s.keep, s.host = ctx, h
	if err := useHost(ctx, h); err != nil {
		return err
	}
	return h.Set(ctx, "started", []byte("yes"))
}

// useHost asks the host for everything it offers, directly and over gRPC.
func useHost(ctx context.Context, h sdk.Host) error {
	first, err := h.Send(ctx, "ref", sdk.Outgoing{Account: "acc", To: "1", Text: "hi"})
	again, err2 := h.Send(ctx, "ref", sdk.Outgoing{Account: "acc", To: "1", Text: "hi"})
	if err != nil || err2 != nil || first == "" || first != again {
		return fmt.Errorf("send: %q, %q: %w", first, again, errors.Join(err, err2))
	}
	f, err := h.Media(ctx, "m1")
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err != nil || string(b) != "\xff\xd8\xff" || f.Close() != nil {
		return fmt.Errorf("media: %q %w", b, err)
	}
	if _, err := h.Media(ctx, "m2"); err == nil || !strings.Contains(err.Error(), "no such media") {
		return fmt.Errorf("media that is missing: %w", err)
	}
	for _, value := range [][]byte{{1, 0, 255}, {}, nil} {
		if err := h.Set(ctx, "k", value); err != nil {
			return err
		}
		got, ok, err := h.Get(ctx, "k")
		if err != nil || ok != (value != nil) || !bytes.Equal(got, value) {
			return fmt.Errorf("set %v, got %v %v %w", value, got, ok, err)
		}
	}
	return nil
}

func (s *sample) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	switch {
	case s.fault == "context" && s.keep.Err() != nil:
		return sdk.Result{Reason: "context"}
	case s.fault == "type" && d.Event.Message == nil:
		return sdk.Result{}
	case s.fault == "panic" && d.Event.Message == nil:
		panic("no message")
	}
	if v, ok, err := s.host.Get(ctx, "started"); ctx.Err() == nil && (err != nil || !ok || string(v) != "yes") {
		return sdk.Result{Reason: "host"}
	}
	return sdk.Result{Status: sdk.OK}
}

func (s *sample) Stop(context.Context) error {
	if s.fault == "stop" && s.host == nil {
		panic("stopped without start")
	}
	return nil
}

func TestSample(t *testing.T) { sdktest.Run(t, create, json.RawMessage(`{}`)) }

func TestTheSuiteFindsFaults(t *testing.T) {
	for fault, says := range map[string]string{
		"info":    "Info has changed",
		"lax":     "takes a key that does not exist",
		"context": "a message (text) was answered with retry",
		"type":    "an event of type receipt was answered with retry",
		"panic":   "panic",
		"stop":    "stopped without start",
	} {
		t.Run(fault, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSample$/^direct$")
			cmd.Env = append(os.Environ(), faultEnv+"="+fault)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite passes: %s", out)
			require.Contains(t, string(out), says)
		})
	}
}
