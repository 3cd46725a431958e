package mongo

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/wildcathub/wildcat/core/store"
)

// scale tells the sizes to test with: all of it if WILDCAT_MONGO_LARGE asks for that, else a
// hundredth. The fake server keeps it in memory, 6 GB of it.
func scale() func(int64) int64 {
	if os.Getenv("WILDCAT_MONGO_LARGE") == "" {
		return func(size int64) int64 { return size / 100 }
	}
	return func(size int64) int64 { return size }
}

// heapGrowth watches how much more memory is in use, in bytes, until stop. What waits to be
// collected counts, too, and is kept little.
func heapGrowth() (stop func() uint64) {
	percent := debug.SetGCPercent(20)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var peak atomic.Uint64
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() uint64 {
		close(done)
		wg.Wait()
		debug.SetGCPercent(percent)
		return peak.Load() - min(before, peak.Load())
	}
}

// readBack reads a file whole and by ranges: its beginning, over the edge of a chunk and of
// what is fetched at once, its middle and its end.
func readBack(t *testing.T, s *Store, seed int, info store.BlobInfo) {
	t.Helper()
	f, got, err := s.OpenBlob(t.Context(), info.ID)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.Equal(t, info, got)
	require.Equal(t, info.SHA256, hashOf(t, f), "file %s", info.ID)
	const length = 300_000
	for _, from := range []int64{0, chunkSize - 1, chunksPerWrite*chunkSize - 7, info.Size / 2, info.Size - 1000} {
		if from < 0 || from >= info.Size {
			continue
		}
		_, err = f.Seek(from, io.SeekStart)
		require.NoError(t, err)
		want := stream(seed, info.Size)
		_, err = io.CopyN(io.Discard, want, from)
		require.NoError(t, err)
		require.Equal(t, hashOf(t, io.LimitReader(want, length)), hashOf(t, io.LimitReader(f, length)), "file %s from %d", info.ID, from)
	}
}

// 64 files of 64 MB where WILDCAT_MONGO_LARGE is set, a hundredth of that elsewhere.
func TestManyFilesAtOnceInLittleMemory(t *testing.T) {
	of := scale()
	s := openStore(t, Config{}, Deps{})
	infos := make([]store.BlobInfo, 64)
	grown := heapGrowth()
	var wg sync.WaitGroup
	for i := range infos {
		wg.Go(func() {
			size := of(64<<20) + int64(i) // no two alike
			var err error
			infos[i], err = s.PutBlob(t.Context(), store.BlobInfo{ID: fmt.Sprint(i), Account: "a"}, stream(i, size))
			if err != nil || infos[i].Size != size {
				t.Errorf("file %d of %d bytes: %d, %v", i, size, infos[i].Size, err)
			}
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	// Of each the piece that it is at, and the same on its way to the server.
	peak := grown()
	t.Logf("%d MiB more", peak>>20)
	require.Less(t, peak, uint64(64*4<<20))
	for i, info := range infos {
		require.Equal(t, hashOf(t, stream(i, info.Size)), info.SHA256, "file %d", i)
		readBack(t, s, i, info)
	}
}

// A file of 2 GB where WILDCAT_MONGO_LARGE is set, a hundredth of that elsewhere: less is in
// memory at a time than the smaller of the two.
func TestALargeFileInLittleMemory(t *testing.T) {
	of := scale()
	s := openStore(t, Config{}, Deps{})
	size := of(2 << 30)
	grown := heapGrowth()
	info, err := s.PutBlob(t.Context(), store.BlobInfo{ID: "film", Account: "a"}, stream(7, size))
	require.NoError(t, err)
	require.Equal(t, size, info.Size)
	readBack(t, s, 7, info)
	peak := grown()
	t.Logf("%d MiB more", peak>>20)
	require.Less(t, peak, uint64(15<<20))
	require.Equal(t, hashOf(t, stream(7, size)), info.SHA256)
}

// However many upload at once, few of their round trips are under way: on a slow server each
// would take too long else, and fail.
func TestUploadsDoNotCrowdTheServer(t *testing.T) {
	var under, most atomic.Int64
	var began sync.Map // by request
	s := openStore(t, Config{}, Deps{Monitor: &event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			if coll, _ := e.Command.Lookup("insert").StringValueOK(); coll == "media.chunks" {
				began.Store(e.RequestID, true)
				n := under.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			}
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
			if _, ours := began.LoadAndDelete(e.RequestID); ours {
				under.Add(-1)
			}
		},
	}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: fmt.Sprint(i), Account: "a"}, stream(i, 3<<20))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(writesAtOnce))
	require.Greater(t, most.Load(), int64(1))
	require.Zero(t, under.Load())
}
