//go:build !race

package partition

// raced: the race detector watches.
const raced = false
