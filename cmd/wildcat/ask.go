package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/config"
)

// hubFlags are the flags of commands that ask a running hub.
type hubFlags struct {
	file, server string
	json         bool
}

func (f *hubFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file, for the hub's address")
	cmd.Flags().StringVar(&f.server, "server", "", "the hub's address, such as http://127.0.0.1:3000")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer as it came")
}

// address is where the hub is asked: as was given, or as its configuration says.
func (f *hubFlags) address() (string, error) {
	if f.server != "" {
		return strings.TrimSuffix(f.server, "/"), nil
	}
	cfg, err := config.Load(f.file, config.Options{})
	if err != nil && cfg == nil {
		return "", err
	}
	// Mistakes in the file are no reason not to ask: the hub runs, and may be asked about them.
	return "http://" + net.JoinHostPort(reachable(cfg.Server.Host), strconv.Itoa(cfg.Server.Port)), nil
}

// askHub sends a request to a hub and returns the body of its answer. A refusal is an
// error with the hub's own words.
func askHub(ctx context.Context, server, method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, server+path, sent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the hub (is it running? --server names another address): %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read the hub's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var failure struct {
			Error    string
			Problems []string
		}
		_ = json.Unmarshal(answer, &failure)
		lines := append([]string{fmt.Sprintf("the hub answered %d %s", resp.StatusCode, failure.Error)}, failure.Problems...)
		return nil, fmt.Errorf("%s", strings.Join(lines, "\n"))
	}
	return answer, nil
}
