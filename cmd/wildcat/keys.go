package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/app"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/store"
)

func newKeysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list and revoke the API keys of the REST API",
		Long: `Works on the database that the configuration names. If a running hub has it to itself (SQLite),
that hub is asked, with the key that the environment variable WILDCAT_API_KEY holds.`,
	}
	var place keyPlace
	f := cmd.PersistentFlags()
	f.StringVar(&place.file, "config", "", "configuration file (default wildcat.yaml, which need not exist)")
	f.StringVar(&place.data, "data", "", "data folder (default what the configuration says, ./data)")
	f.StringVar(&place.server, "server", "", "ask the hub at this address, such as http://127.0.0.1:3000, instead of opening a database")
	cmd.AddCommand(newKeysCreateCommand(&place), newKeysListCommand(&place), newKeysRevokeCommand(&place))
	return cmd
}

func newKeysCreateCommand(place *keyPlace) *cobra.Command {
	var name, scope string
	var accounts []string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "create --name NAME",
		Short: "Make a key and print it; it cannot be had again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := keys.Request{Name: name, Scope: keys.Scope(scope), Accounts: accounts}
			if cmd.Flags().Changed("expires") {
				if expires <= 0 {
					return errors.New("--expires: expected a duration such as 720h")
				}
				r.ExpiresAt = time.Now().Add(expires)
			}
			return place.with(cmd, true, func(ctx context.Context, ring keyRing) error {
				k, token, err := ring.Create(ctx, r)
				if err != nil {
					return err
				}
				// The key alone goes to standard output: KEY=$(wildcat keys create …).
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "key %s (%s, scope %s) was made; this is the only time that it is shown:\n", k.ID, k.Name, k.Scope)
				_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "what it is for, for people")
	f.StringVar(&scope, "scope", string(keys.Admin), "admin (everything), send (send and read) or read")
	f.StringArrayVar(&accounts, "account", nil, "limit it to this account; may be repeated")
	f.DurationVar(&expires, "expires", 0, "how long it is good for, such as 720h (default for ever)")
	_ = cmd.MarkFlagRequired("name") // it exists
	return cmd
}

func newKeysListCommand(place *keyPlace) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the keys, without the keys themselves",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return place.with(cmd, false, func(ctx context.Context, ring keyRing) error {
				list, err := ring.List(ctx)
				if err != nil {
					return err
				}
				return printKeys(cmd.OutOrStdout(), list, time.Now())
			})
		},
	}
}

func newKeysRevokeCommand(place *keyPlace) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a key; hubs refuse it within 5 seconds",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := args[0]
			if rest, whole := strings.CutPrefix(id, "wk_"); whole { // the key itself: no more of it is to be shown
				id, _, _ = strings.Cut(rest, "_")
			}
			return place.with(cmd, false, func(ctx context.Context, ring keyRing) error {
				switch _, err := ring.Delete(ctx, id); {
				case errors.Is(err, store.ErrNotFound):
					return fmt.Errorf("there is no key %s: `wildcat keys list` shows the ids", id)
				case err != nil:
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "key %s is revoked\n", id)
				return err
			})
		},
	}
}

func printKeys(out io.Writer, list []keys.Key, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tNAME\tSCOPE\tACCOUNTS\tCREATED\tEXPIRES\tLAST USED")
	day := func(t time.Time, none string) string {
		if t.IsZero() {
			return none
		}
		return t.Local().Format("2006-01-02 15:04")
	}
	for _, k := range list {
		accounts, expires := strings.Join(k.Accounts, ","), day(k.ExpiresAt, "never")
		if accounts == "" {
			accounts = "all"
		}
		if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
			expires += " (expired)"
		}
		created, used := day(k.CreatedAt, "-"), day(k.LastUsed, "never")
		if k.ID == keys.EnvironmentID {
			created, used = "configured", "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Scope, accounts, created, expires, used)
	}
	return w.Flush()
}

// keyRing is where keys are: a database, or a running hub.
type keyRing interface {
	Create(ctx context.Context, r keys.Request) (keys.Key, string, error)
	List(ctx context.Context) ([]keys.Key, error)
	Delete(ctx context.Context, id string) (keys.Key, error)
}

// keyPlace is what the flags say about where the keys are.
type keyPlace struct{ file, data, server string }

// with opens the place, does something with its keys, and closes it. Only who makes a key makes
// the database for it, too, where its name may be misspelt.
func (p keyPlace) with(cmd *cobra.Command, makes bool, do func(context.Context, keyRing) error) (err error) {
	ctx := cmd.Context()
	if p.server != "" {
		return do(ctx, restKeys{hubAt(p.server)})
	}
	cfg, err := config.Load(p.file, config.Options{Override: func(c *config.Config) {
		if p.data != "" {
			c.Data = p.data
		}
	}})
	if err != nil {
		return report(cmd, err)
	}
	direct, err := app.OpenKeys(ctx, cfg, makes)
	if errors.Is(err, store.ErrLocked) {
		if cfg.Server.Port == 0 {
			return fmt.Errorf("%w; the hub's port is any free one, so that it cannot be asked: name its address with --server", err)
		}
		return do(ctx, restKeys{hubOf(cfg)})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, direct.Close()) }()
	return do(ctx, direct)
}

// restKeys are the keys of a running hub.
type restKeys struct{ hub hub }

// restKey is a key in a hub's answers.
type restKey struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scope      keys.Scope `json:"scope"`
	Accounts   []string   `json:"accounts"`
	CreatedAt  *time.Time `json:"createdAt"`
	ExpiresAt  *time.Time `json:"expiresAt"`
	LastUsedAt *time.Time `json:"lastUsedAt"`
}

func (k restKey) key() keys.Key {
	at := func(t *time.Time) time.Time {
		if t == nil {
			return time.Time{}
		}
		return *t
	}
	return keys.Key{
		ID: k.ID, Name: k.Name, Scope: k.Scope, Accounts: k.Accounts,
		CreatedAt: at(k.CreatedAt), ExpiresAt: at(k.ExpiresAt), LastUsed: at(k.LastUsedAt),
	}
}

// Create implements keyRing.
func (r restKeys) Create(ctx context.Context, req keys.Request) (keys.Key, string, error) {
	body := map[string]any{"name": req.Name, "scope": req.Scope, "accounts": req.Accounts}
	if !req.ExpiresAt.IsZero() {
		body["expiresAt"] = req.ExpiresAt.UTC().Format(time.RFC3339)
	}
	var out struct {
		Key   restKey
		Token string
	}
	raw, err := r.hub.ask(ctx, http.MethodPost, "/v1/keys", body)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out.Key.key(), out.Token, err
}

// List implements keyRing.
func (r restKeys) List(ctx context.Context) ([]keys.Key, error) {
	raw, err := r.hub.ask(ctx, http.MethodGet, "/v1/keys", nil)
	if err != nil {
		return nil, err
	}
	var out struct{ Keys []restKey }
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("decode the hub's answer: %w", err)
	}
	list := make([]keys.Key, len(out.Keys))
	for i, k := range out.Keys {
		list[i] = k.key()
	}
	return list, nil
}

// Delete implements keyRing.
func (r restKeys) Delete(ctx context.Context, id string) (keys.Key, error) {
	_, err := r.hub.ask(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil)
	return keys.Key{ID: id}, err
}
