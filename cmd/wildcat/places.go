package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/migrate"
)

// errInterrupted is what a person gets who has ended a command that can be repeated.
var errInterrupted = errors.New("interrupted: run it again, and it goes on")

// interrupted replaces what came of ending a command, which is the database's text.
func interrupted(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return errInterrupted
	}
	return err
}

// checkDatabase refuses a name that a hub's configuration could not have: nobody could
// start a hub on what is written there.
func checkDatabase(flag string, p migrate.Place) error {
	if p.SQLite() || config.DatabaseName(p.Database) {
		return nil
	}
	return fmt.Errorf("--%s %q: expected letters, digits, _ and -, at most 63, as DB_NAME", flag, p.Database)
}

// anyDatabase is what a MongoDB server takes: the Node service checked no more.
var anyDatabase = regexp.MustCompile(`^[^/\\. "$*<>:|?\x00]{1,63}$`)

func checkLegacyDatabase(name string) error {
	if anyDatabase.MatchString(name) {
		return nil
	}
	return errors.New("--database: MongoDB has no such names: expected 1 to 63 characters without spaces and / \\ . \" $ * < > : | ?")
}
