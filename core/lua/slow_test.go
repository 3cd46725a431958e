//go:build !race

package lua

// slowdown is how much slower than the aim a shared machine may be.
const slowdown = 5
