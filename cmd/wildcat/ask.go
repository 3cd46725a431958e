package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
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

// hub is where the hub is: as was given, or as its configuration says.
func (f *hubFlags) hub() (hub, error) {
	if f.server != "" {
		return hubAt(f.server), nil
	}
	cfg, err := config.Load(f.file, config.Options{})
	if err != nil && cfg == nil {
		return hub{}, err
	}
	// Mistakes in the file are no reason not to ask: the hub runs, and may be asked about them.
	return hubOf(cfg), nil
}

// apiKey is the environment variable whose key the commands send to a hub.
const apiKey = "WILDCAT_API_KEY"

// hub is a running hub, and the key that it is asked with, if there is one.
type hub struct{ server, key string }

// hubAt is the hub at an address.
func hubAt(server string) hub {
	return hub{server: strings.TrimSuffix(server, "/"), key: os.Getenv(apiKey)}
}

// hubOf is the hub of a configuration. The admin key that this may hold is sent to no other: an
// address may be anybody's.
func hubOf(cfg *config.Config) hub {
	h := hubAt("http://" + net.JoinHostPort(reachable(cfg.Server.Host), strconv.Itoa(cfg.Server.Port)))
	if h.key == "" {
		h.key = cfg.Auth.AdminKey.Reveal()
	}
	return h
}

// reachable is the address at which a hub that listens on host answers.
func reachable(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

// ask sends a request to a hub and returns the body of its answer. A refusal is an
// error with the hub's own words.
func (h hub) ask(ctx context.Context, method, path string, body any) ([]byte, error) {
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
	req, err := http.NewRequestWithContext(ctx, method, h.server+path, sent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if h.key != "" {
		req.Header.Set("Authorization", "Bearer "+h.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the hub (is it running? --server names another address): %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read the hub's answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		var failure struct {
			Error    string
			Problems []string
		}
		_ = json.Unmarshal(answer, &failure)
		lines := append([]string{fmt.Sprintf("the hub answered %d %s", resp.StatusCode, failure.Error)}, failure.Problems...)
		if resp.StatusCode == http.StatusUnauthorized {
			lines = append(lines, "put a key into the environment variable "+apiKey)
		}
		return nil, fmt.Errorf("%s", strings.Join(lines, "\n"))
	}
	return answer, nil
}
