package app_test

import (
	"database/sql"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // as any program that makes backups would
)

// copyFolder from to
func copyFolder(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "copy-folder from to")
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(ts.MkAbs(args[0]))))
}

// vacuumInto from to: copies a database that may be in use.
func vacuumInto(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "vacuum-into from to")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec("VACUUM INTO ?", ts.MkAbs(args[1]))
	ts.Check(err)
}
