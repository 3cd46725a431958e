// Package mongo is the engine of package store for MongoDB and servers that speak its
// protocol: several processes may use one database.
//
// # What it relies on
//
// Documents are written one at a time or in bulk, never in a transaction, so that a
// stand-alone server serves. Every identifier is the program's own and a string; what
// is written twice runs into a duplicate key, which is how a repetition is recognised.
// Whatever moves a record's state is a compare-and-set, and carries a token of the call
// (the field op): a call whose answer was lost on the way repeats itself and finds by
// the token that it was done. Every write is acknowledged by a majority and journaled,
// every read is of what a majority has. The driver's own repetition of writes is off:
// servers differ in it, and nothing here needs it.
//
// A test's command monitor holds the package to the commands, operators and options
// that all of those servers have in common (see allowed_test.go).
//
// # Order
//
// A chat's events are numbered by the one who holds the account's lease. The unique
// index on (account, chat, seq) arbitrates: a process that has lost its lease without
// knowing can only collide, and number n+1 is tried only once n is stored, so that there
// are no gaps. The position (pos) orders what has no number: the time in microseconds, made to
// grow strictly within a process, and past every position that the process has read.
//
// # What it does not do
//
// It runs no server and makes no backup. It does not decide how long records are kept.
// Whoever adds that must keep the newest delivery of every (endpoint, chat), from which
// Settlement's Prev is taken, and write a chat's counter before its newest event goes.
package mongo
