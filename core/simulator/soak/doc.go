// Package soak holds long tests of the simulator: random schedules of faults, made of a
// seed, under which unmodified whatsmeow clients and phones exchange messages, and after which
// every message must have been shown, once, and every invariant kept. It has no code of its own.
//
// make soak SCHEDULES=50 SEED=1 runs many; a schedule that failed prints its seed, and
// SCHEDULES=1 with that SEED runs it again.
package soak
