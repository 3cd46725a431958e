package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/migrate"
)

// runAbandon gives up an import that was not finished.
func runAbandon(ctx context.Context, to migrate.Place, out io.Writer) (err error) {
	target, err := migrate.OpenExisting(ctx, to)
	if err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	kept, err := migrate.Abandon(ctx, target, time.Now)
	if err != nil {
		return err
	}
	var all []string
	for _, k := range kept {
		all = append(all, fmt.Sprintf("%s %d", k.Kind, k.N))
	}
	_, err = fmt.Fprintf(out, "the import into %s is given up: hubs start on it again\n"+
		"what was taken over stays, and is added to by the same import, if it is run again\n"+
		"it holds now, with what a hub had before: %s\n", target.Name, strings.Join(all, ", "))
	return err
}

// hintTimeout is how long is looked whether a target waits for a source that cannot be read.
const hintTimeout = 10 * time.Second

// hintAbandon adds to the error of a source that cannot be read how the target is used all the
// same, if an import into it is unfinished.
func hintAbandon(ctx context.Context, to migrate.Place, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	target, err := migrate.OpenExisting(ctx, to)
	if err != nil {
		return cause // there is none, or a hub runs on it
	}
	unfinished, err := migrate.Importing(ctx, target.Store)
	if err := errors.Join(err, target.Close()); err != nil || !unfinished {
		return cause
	}
	return fmt.Errorf("%w; an import into %s is unfinished, and no hub starts there: "+
		"`wildcat import-legacy --abandon` with the same --to gives it up, and keeps what was taken over", cause, target.Name)
}
