package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/scenario"
)

// runBare is the floor: whatsmeow clients that acknowledge what they decrypt and do
// nothing else, with whatsmeow's own SQL store in the hub's configuration of it,
// SynchronousAck and the event buffer; with -guard, the hub's guard around that store, too.
func runBare(args []string) error {
	fs := flag.NewFlagSet("bare", flag.ContinueOnError)
	url := fs.String("url", "", "the sandbox")
	dir := fs.String("dir", "", "data folder")
	first := fs.String("number", "", "number of the first account")
	count := fs.Int("count", 1, "how many accounts, of consecutive numbers")
	guarded := fs.Bool("guard", false, "put the hub's guard around the device store")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // the parent's end of the pipe is the lifeline
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return err
	}
	transport, err := sandboxTransport(ctx, *url)
	if err != nil {
		return err
	}
	stores, closeStore, err := openStores(ctx, filepath.Join(*dir, "devices.db"), *count, *guarded)
	if err != nil {
		return err
	}
	var clients []*whatsmeow.Client
	for i, d := range stores {
		c := whatsmeow.NewClient(d, waLog.Noop)
		client := &http.Client{Transport: transport}
		c.SetWebsocketHTTPClient(client)
		c.SetPreLoginHTTPClient(client)
		c.SetMediaHTTPClient(client)
		c.SynchronousAck, c.EnableDecryptedEventBuffer = true, true
		c.AddEventHandlerWithSuccessStatus(func(any) bool { return true })
		if d.ID == nil {
			if err := pair(ctx, c, *url, next(*first, i)); err != nil {
				return err
			}
		} else if err := c.Connect(); err != nil {
			return err
		}
		clients = append(clients, c)
	}
	fmt.Println("bare listening on nothing")
	<-ctx.Done()
	for _, c := range clients {
		c.Disconnect()
	}
	return closeStore()
}

// openStores returns the devices that are kept at path, and new ones up to count.
func openStores(ctx context.Context, path string, count int, guarded bool) (out []*store.Device, closeStore func() error, err error) {
	if !guarded {
		keys, _, err := devices.OpenStore(ctx, path)
		if err != nil {
			return nil, nil, err
		}
		if out, err = keys.GetAllDevices(ctx); err != nil {
			return nil, nil, err
		}
		for len(out) < count {
			out = append(out, keys.NewDevice())
		}
		return out, keys.Close, nil
	}
	keys, err := devices.Open(ctx, path, devices.Deps{})
	if err != nil {
		return nil, nil, err
	}
	paired, err := keys.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range count {
		var d *devices.Device
		if i < len(paired) {
			d, err = keys.Device(ctx, paired[i], devices.Owner{})
		} else {
			d, err = keys.New(ctx, devices.Owner{})
		}
		if err != nil {
			return nil, nil, err
		}
		out = append(out, d.Store)
	}
	return out, keys.Close, nil
}

// next is the number i after first.
func next(first string, i int) string {
	var n int64
	_, _ = fmt.Sscanf(first, "%d", &n)
	return fmt.Sprint(n + int64(i))
}

// pair shows the QR code to a simulated phone.
func pair(ctx context.Context, c *whatsmeow.Client, url, number string) error {
	codes, err := c.GetQRChannel(ctx)
	if err != nil {
		return err
	}
	if err := c.Connect(); err != nil {
		return err
	}
	s := scenario.NewSandbox(url)
	for item := range codes {
		switch item.Event {
		case "code":
			if err := s.Scan(ctx, number, item.Code); err != nil {
				return err
			}
		case "success":
			return nil
		default:
			return fmt.Errorf("pairing ended with %s", item.Event)
		}
	}
	return errors.New("pairing ended")
}

// sandboxTransport trusts the sandbox's root key and dials it for every address.
func sandboxTransport(ctx context.Context, url string) (*http.Transport, error) {
	var answer struct {
		RootKey string `json:"root_key"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/sandbox/root-key", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(answer.RootKey)
	if err != nil || len(key) != len(whatsmeow.WACertPubKey) {
		return nil, fmt.Errorf("root key %q is not 32 bytes in hex", answer.RootKey)
	}
	copy(whatsmeow.WACertPubKey[:], bytes.Clone(key))
	addr := strings.TrimPrefix(url, "http://")
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, addr)
	}
	return &http.Transport{DialContext: dial, DialTLSContext: dial}, nil
}

// pairBare pairs a bare client's account once.
func (w *world) pairBare(ctx context.Context, number string, extra ...string) error {
	if err := w.sandbox.AddPhone(ctx, number, "Bare"); err != nil {
		return err
	}
	p, err := w.startBare(ctx, number, 1, extra...)
	if err != nil {
		return err
	}
	err = scenario.Until(ctx, 30*time.Second, func() error {
		d, err := w.device(ctx, number)
		if err == nil && !d.Online {
			err = errors.New("not online yet")
		}
		return err
	})
	return errors.Join(err, p.Stop(15*time.Second))
}

func (w *world) startBare(ctx context.Context, number string, count int, extra ...string) (*scenario.Process, error) {
	args := []string{"bare", "-url", w.process.URL, "-dir", w.bareDir(number), "-number", number, "-count", fmt.Sprint(count)}
	return scenario.StartProcess(ctx, scenario.Command{Name: "the bare client", Exe: w.b.self, Args: append(args, extra...)})
}
