// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/wildcathub/wildcat/sdk"
)

// inFlight is how many events may wait for the disk together: one fsync serves them all.
const inFlight = 64

// New makes an unconfigured connector.
func New() sdk.Connector { return &Connector{} }

// Connector appends events to a file. An event is answered with OK only when it is
// on the disk, so that the hub forgets nothing that the file does not have.
type Connector struct {
	path string

	mu      sync.Mutex // guards file and running
	file    *lineFile
	running chan struct{} // closed by Stop
	stopped chan struct{} // closed by the writer
	lines   chan line
}

// line is one event on its way to the file.
type line struct {
	text []byte
	done chan error
}

// Info implements sdk.Connector.
func (*Connector) Info() sdk.Info {
	return sdk.Info{
		Type:    "jsonl",
		Version: "1.0.0",
		Doc:     "appends each event to a file, as one line of JSON",
		Schema: json.RawMessage(`{"type":"object","additionalProperties":false,"required":["path"],` +
			`"properties":{"path":{"type":"string","minLength":1,"description":"the file, relative to the working directory"}}}`),
		InFlight: inFlight,
	}
}

// Configure implements sdk.Connector. A key that is not known is a mistake, so that
// a misspelt one is noticed.
func (c *Connector) Configure(with json.RawMessage) error {
	var cfg struct {
		Path string `json:"path"`
	}
	d := json.NewDecoder(bytes.NewReader(with))
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		return &sdk.ConfigError{Message: err.Error()}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &sdk.ConfigError{Message: "has something behind the object"}
	}
	if cfg.Path == "" {
		return &sdk.ConfigError{Path: "path", Message: "is required"}
	}
	c.path = cfg.Path
	return nil
}

// Start implements sdk.Connector.
func (c *Connector) Start(context.Context, sdk.Host) error {
	f, err := openLines(c.path)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file, c.lines = f, make(chan line)
	c.running, c.stopped = make(chan struct{}), make(chan struct{})
	go write(f, c.lines, c.running, c.stopped)
	return nil
}

// record is one line of the file.
type record struct {
	ID      string        `json:"id"`
	Type    sdk.EventType `json:"type"`
	Account string        `json:"account"`
	Chat    string        `json:"chat"`
	Seq     uint64        `json:"seq"`
	Prev    uint64        `json:"prev"`
	Attempt int           `json:"attempt"`
	Ordered bool          `json:"ordered"`
	Event   *sdk.Event    `json:"event"`
}

// Deliver implements sdk.Connector. An event may come more than once, after a crash
// for instance; readers of the file tell by its id.
func (c *Connector) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	e := d.Event
	text, err := json.Marshal(record{
		ID: e.ID, Type: e.Type, Account: e.Account, Chat: e.Chat, Seq: e.Seq,
		Prev: d.Prev, Attempt: d.Attempt, Ordered: d.Ordered, Event: e,
	})
	if err != nil { // it would fail again
		return sdk.Result{Status: sdk.Reject, Reason: "encode", Body: err.Error()}
	}
	c.mu.Lock()
	lines, running := c.lines, c.running
	c.mu.Unlock()
	l := line{text: append(text, '\n'), done: make(chan error, 1)}
	select {
	case lines <- l:
	case <-running:
		return sdk.Result{Uncounted: true, Reason: "stopped"}
	case <-ctx.Done():
		return sdk.Result{Reason: "timeout"}
	}
	if err := <-l.done; err != nil {
		return sdk.Result{Status: sdk.Retry, Reason: "write", Body: err.Error()}
	}
	return sdk.Result{Status: sdk.OK}
}

// Stop implements sdk.Connector.
func (c *Connector) Stop(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return nil
	}
	close(c.running)
	<-c.stopped
	err := c.file.close()
	c.file = nil
	return err
}

// write is the only one that writes. It takes all lines that wait, writes them at
// once and makes them durable with one fsync.
func write(f *lineFile, lines <-chan line, running <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	for {
		var batch []line
		select {
		case l := <-lines:
			batch = append(batch, l)
		case <-running:
			return
		}
	more:
		for len(batch) < inFlight {
			select {
			case l := <-lines:
				batch = append(batch, l)
			default:
				break more
			}
		}
		var text []byte
		for _, l := range batch {
			text = append(text, l.text...)
		}
		err := f.append(text)
		if err != nil {
			err = fmt.Errorf("append to file: %w", err)
		}
		for _, l := range batch {
			l.done <- err
		}
	}
}
