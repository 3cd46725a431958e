package app_test

import (
	"context"
	"errors"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/migrate"
	"github.com/wildcathub/wildcat/core/store/mongo"
)

// legacyCut database uri place: an import that is cut short before its messages. place is the
// data folder, or the name of the database on a server.
func legacyCut(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "legacy-cut database uri place")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	from, err := legacy.Open(ctx, ts.Getenv("MONGO"), args[0])
	ts.Check(err)
	to, err := migrate.Open(ctx, migrate.Place{URI: args[1], Database: args[2], Data: ts.MkAbs(args[2])})
	if err != nil {
		ts.Fatalf("open the target: %v", errors.Join(err, from.Close()))
	}
	_, err = migrate.Import(ctx, from, to, migrate.ImportOptions{Progress: func(kind string, _ int) {
		if kind == "media" {
			cancel()
		}
	}})
	ts.Check(errors.Join(to.Close(), from.Close()))
	if !errors.Is(err, context.Canceled) {
		ts.Fatalf("the import was not cut short: %v", err)
	}
}

// legacyDrop database: it is gone.
func legacyDrop(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "legacy-drop database")
	ts.Check(mongo.Drop(context.Background(), os.Getenv("MONGODB_URI"), args[0]))
}
