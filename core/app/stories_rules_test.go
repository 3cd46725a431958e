package app_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wildcathub/wildcat/core/scenario"
)

// hangUp sends the hub a SIGHUP.
func hangUp(ts *testscript.TestScript, _ bool, _ []string) {
	p, err := os.FindProcess(stageOf(ts).hub.PID())
	ts.Check(err)
	ts.Check(p.Signal(syscall.SIGHUP))
}

// secondHub config: one more hub, with a data folder of its own, at $HUB2.
func secondHub(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "second-hub config")
	p, err := scenario.StartProcess(context.Background(), scenario.Command{
		Env:  []string{"MONGO_URL=" + ts.Getenv("MONGO_URL"), "DB_NAME=" + ts.Getenv("DB_NAME")},
		Name: "the second hub", Exe: filepath.Join(binaries, exeName("wildcat")), Dir: ts.MkAbs("."),
		Args: []string{"serve", "--config", ts.MkAbs(args[0]), "--data", ts.MkAbs("data2"), "--exit-with-stdin"},
	})
	ts.Check(err)
	stageOf(ts).second = p
	ts.Setenv("HUB2", p.URL)
}

func endSecond(ts *testscript.TestScript, _ bool, _ []string) {
	s := stageOf(ts)
	ts.Check(s.second.Stop(20 * time.Second))
	s.second = nil
}

// within duration METHOD path regexp: until-rest that has no more time than that.
func within(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 4, "within duration METHOD path regexp")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	re, err := regexp.Compile(args[3])
	ts.Check(err)
	ts.Check(scenario.Until(context.Background(), limit, func() error {
		out, err := call(ts, args[1:3])
		if err == nil && !re.MatchString(out) {
			err = fmt.Errorf("no match in %s", out)
		}
		return err
	}))
}
