package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// childDir is set in a process that a test started from its own binary.
const childDir = "SQLITE_TEST_CHILD_DIR"

// child starts this binary again to run one test function as a helper.
func child(t *testing.T, ctx context.Context, dir, test string, before ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	args := append(before, exe, "-test.run=^"+test+"$", "-test.count=1")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	return cmd
}

func testEvent(i int, chat string) *sdk.Event {
	return &sdk.Event{
		ID: fmt.Sprintf("%032x", i), Type: sdk.TypeMessage, Account: "a", Chat: chat,
		Message: &sdk.Message{ID: fmt.Sprint(i), Text: "x"},
	}
}

// TestEveryConnectionIsDurable asks every connection of both pools, not the text of the DSN.
func TestEveryConnectionIsDurable(t *testing.T) {
	s := openStore(t, t.TempDir())
	want := map[string]any{"synchronous": int64(2), "journal_mode": "wal", "busy_timeout": int64(10000)}
	err := s.write(t.Context(), 0, func(tx *tx) error {
		for pragma, value := range want {
			var got any
			if _, err := tx.row("PRAGMA "+pragma, nil, &got); err != nil {
				return err
			}
			require.Equal(t, value, got, pragma)
		}
		var pages any
		_, err := tx.row("PRAGMA wal_autocheckpoint", nil, &pages)
		require.Equal(t, int64(8000), pages)
		return err
	})
	require.NoError(t, err)

	n := s.r.db.Stats().MaxOpenConnections
	require.Equal(t, 4, n)
	for range n { // held until the end, so that each is another one
		conn, err := s.r.db.Conn(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		for pragma, value := range want {
			var got any
			require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, value, got, pragma)
		}
		_, err = conn.ExecContext(t.Context(), "DELETE FROM events")
		require.ErrorContains(t, err, "readonly", "a reader cannot write")
	}
	require.Equal(t, n, s.r.db.Stats().OpenConnections)
}

func TestBusyTimeoutComesFirst(t *testing.T) {
	require.Regexp(t, regexp.MustCompile(`_pragma=busy_timeout%28\d+%29&_pragma=journal_mode`), dsn("/x/y z?.db"))
	require.Contains(t, dsn("/x"), "_txlock=immediate")
	require.Contains(t, dsn("/x/y z?.db"), "file:///x/y%20z%3F.db?")
	require.Contains(t, dsn("C:/x"), "file:///C:/x?")
}

// TestEachWriteIsSynced counts system calls: K appends, one after the other, are K
// commits, and each must have synced before it returned.
func TestEachWriteIsSynced(t *testing.T) {
	const appends = 40
	if dir := os.Getenv(childDir); dir != "" {
		s := openStore(t, dir)
		// The file descriptor that the parent looks for.
		fmt.Println("ready")
		for i := range appends {
			_, err := s.AppendEvent(t.Context(), store.Append{Event: testEvent(i, "c")})
			require.NoError(t, err)
			fmt.Println("appended")
		}
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("strace is needed to count fsync calls")
		}
		t.Skip("strace is not installed: it is needed to count fsync calls")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := child(t, t.Context(), dir, t.Name(), strace, "-f", "-y", "-s", "20", "-e", "trace=fsync,fdatasync,write", "-o", trace)
	out, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(out), "ptrace") && os.Getenv("CI") != "true" {
		t.Skipf("strace may not trace here: %s", out)
	}
	require.NoError(t, err, "%s", out)

	raw, err := os.ReadFile(trace)
	require.NoError(t, err)
	lines := strings.Split(string(raw), "\n")
	begin := 0
	for i, l := range lines {
		if strings.Contains(l, `"ready\n"`) {
			begin = i
		}
	}
	require.NotZero(t, begin)
	// Between two reports of success there is a sync of the log.
	synced, reported := 0, 0
	sinceReport := 0
	for _, l := range lines[begin:] {
		switch {
		case strings.Contains(l, "sync(") && strings.Contains(l, "wildcat.db-wal"):
			synced++
			sinceReport++
		case strings.Contains(l, `"appended\n"`):
			reported++
			require.Positive(t, sinceReport, "append %d returned before its sync", reported)
			sinceReport = 0
		}
	}
	require.Equal(t, appends, reported)
	require.GreaterOrEqual(t, synced, appends)
}

// TestNothingReturnedIsLostToSIGKILL kills a process that appends and settles from
// several goroutines, and looks for everything that it said was done.
func TestNothingReturnedIsLostToSIGKILL(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		appendForever(t, dir)
		return
	}
	dir := t.TempDir()
	total := 0
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := child(t, ctx, dir, t.Name())
		cmd.Env = append(cmd.Env, fmt.Sprint("ROUND=", round))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		said := map[string]string{}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			id, seq, ok := strings.Cut(lines.Text(), " ")
			if !ok {
				continue
			}
			said[id] = seq
			if len(said) == 150+50*round {
				require.NoError(t, cmd.Process.Kill()) // what is in the pipe is still read
			}
		}
		require.Error(t, cmd.Wait())
		cancel()
		require.GreaterOrEqual(t, len(said), 150)
		total += len(said)

		s, err := Open(t.Context(), Config{Dir: dir}, Deps{})
		require.NoError(t, err)
		for id, seq := range said {
			e, err := s.Event(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, seq, fmt.Sprint(e.Event.Seq))
			require.Equal(t, store.StageDone, e.Stage)
		}
		all, err := s.ListEvents(t.Context(), "a", "", 100_000)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(all), total)
		next := map[string]uint64{}
		for _, e := range all {
			next[e.Event.Chat]++
			require.Equal(t, next[e.Event.Chat], e.Event.Seq, "a gap in %s", e.Event.Chat)
			ds, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{EventID: e.Event.ID})
			require.NoError(t, err)
			require.Equal(t, e.Stage == store.StageDone, len(ds) == 1, "stage and children go together")
		}
		require.NoError(t, s.Close())
	}
}

func appendForever(t *testing.T, dir string) {
	s := openStore(t, dir)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				ev := testEvent(0, fmt.Sprint("c", i%3))
				ev.ID = fmt.Sprintf("%s%08x%08x%08x", "0000000"+os.Getenv("ROUND"), w, i, 1)
				a, err := s.AppendEvent(context.Background(), store.Append{Event: ev})
				if err == nil {
					err = s.Settle(context.Background(), &store.Settlement{
						EventID: ev.ID, Account: "a", Chat: ev.Chat, Seq: a.Seq, Verdict: []byte("v"),
						Deliveries: []store.Delivery{{ID: "d" + ev.ID, EventID: ev.ID, Endpoint: "e", Account: "a", Chat: ev.Chat, Seq: a.Seq}},
					})
				}
				mu.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(3)
				}
				// One write call, so that a line is whole or not there.
				fmt.Printf("%s %d\n", ev.ID, a.Seq)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestAFullDiskIsNamedAndWritingResumes(t *testing.T) {
	s := openStore(t, t.TempDir())
	limit := func(pages int) {
		require.NoError(t, s.write(t.Context(), 0, func(tx *tx) error {
			return tx.query(fmt.Sprintf("PRAGMA max_page_count = %d", pages), nil, func([]any) error { return nil })
		}))
	}
	_, err := s.AppendEvent(t.Context(), store.Append{Event: testEvent(0, "c")})
	require.NoError(t, err)
	limit(1) // SQLite makes it the present size
	stored := 1
	for i := 1; ; i++ {
		_, err := s.AppendEvent(t.Context(), store.Append{Event: testEvent(i, "c")})
		if err != nil {
			require.ErrorIs(t, err, store.ErrFull)
			break
		}
		stored++
		require.Less(t, i, 10_000)
	}
	_, err = s.PutBlob(t.Context(), store.BlobInfo{ID: "f"}, bytes.NewReader(make([]byte, 1<<20)))
	require.ErrorIs(t, err, store.ErrFull)
	all, err := s.ListEvents(t.Context(), "a", "", 100_000)
	require.NoError(t, err, "reading goes on")
	require.Len(t, all, stored)

	limit(1 << 30)
	a, err := s.AppendEvent(t.Context(), store.Append{Event: testEvent(99_999, "c")})
	require.NoError(t, err)
	require.EqualValues(t, stored+1, a.Seq, "what failed used no number")
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.write(t.Context(), 0, func(tx *tx) error {
		var verdict string
		_, err := tx.row("PRAGMA integrity_check", nil, &verdict)
		require.Equal(t, "ok", verdict)
		return err
	}))
}
