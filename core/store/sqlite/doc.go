// Package sqlite is the embedded engine of package store: one file, written by one
// goroutine, for one instance of the program.
//
// # What is synced to disk
//
// Every write of this package is, before the call returns, and that is on purpose
// without exception: the connections run with journal_mode=WAL and synchronous=FULL,
// under which SQLite calls fsync on the write-ahead log in each commit. An append is
// what lets WhatsApp forget a message, a verdict is what makes a re-run harmless, the
// move of a send to `sending` is what tells a repetition from a first try, and the
// outcome of a delivery is what keeps a receiver from seeing it again: losing any of
// them to a power cut would break a promise. The rest (accounts, webhooks, leases,
// the map) is written rarely, so exempting it would buy nothing.
//
// What makes that affordable is group commit: callers queue their operations, and
// the writer takes everything that is queued into one transaction and one fsync. It
// does not wait for more to come, so a lone caller pays for one fsync and no delay, and
// 32 callers at once share it. Only what follows from an event (Settle, and the
// outcomes of deliveries) waits up to 6 ms while appends come that often anyway, and
// rides along with the next one. An operation that fails does not harm the others of its
// transaction: unless it failed before it changed anything, the transaction is rolled
// back and its operations run again, each in one of its own.
//
// The log is copied into the database file (which syncs both) every 8,000 pages.
// Nothing depends on that copy: after a crash SQLite reads the log.
//
// # What it does not do
//
// It does not guard the data folder against a second process: call Lock first, and
// keep it for as long as anything in the folder is open. It does not decide how long
// records are kept. Whoever adds that must keep the newest delivery of every
// (endpoint, chat), from which Settlement's Prev is taken, and the chats, whose
// counters number new events.
package sqlite
