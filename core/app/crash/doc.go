// Package crash holds the crash story: the real hub is killed at every named point
// of the protocols and at random, over and over, and in the end phones and receivers
// must show that nothing was lost, nothing answered twice, and every chat in order.
// It has tests only.
package crash
