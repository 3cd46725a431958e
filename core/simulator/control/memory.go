package control

import (
	"net/http"
	"runtime"
)

// memory is what the simulator's process holds once its garbage is collected.
type memory struct {
	Heap       uint64 `json:"heap_bytes" doc:"in use"`
	Stack      uint64 `json:"stack_bytes" doc:"of goroutines, in use"`
	Goroutines int    `json:"goroutines"`
}

func (a *api) memory(*http.Request) (memory, error) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{m.HeapAlloc, m.StackInuse, runtime.NumGoroutine()}, nil
}
