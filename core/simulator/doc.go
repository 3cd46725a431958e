// Package simulator is a WhatsApp server and its phones, on the loopback interface only.
//
// An unmodified whatsmeow client pairs with it by QR, logs in, and exchanges
// end-to-end encrypted messages with simulated phones and with other clients. It
// owns the server's half of the wire protocol (Noise, stanzas, queues, prekeys),
// the phones (device 0 of every account, with real Signal sessions), their state
// on disk, and the control API under /sandbox/.
//
// It does not own anything of the hub: it imports whatsmeow's wire packages and
// nothing else of core, so that it can run as a process of its own and be used in
// other people's tests.
//
// # How it is laid out
//
// A connection (conn.go) reads stanzas and hands each to the table in router.go: one
// handler per tag, and for <iq> one per xmlns. Whatever has to reach a device is
// collected in a [outgoing] (outgoing.go), written to the journal (journal.go), and
// only then put into the device's queue (queue.go), from where it is sent, and sent
// again after each login, until the device acknowledges it. A phone is a device whose
// queue is emptied in this process (phone_receive.go).
//
// What an account's devices agree on is an appState (appstate.go): encrypted patches, which
// the server keeps and the phone reads. What others look up is its profile (profile.go, privacy.go,
// lookup.go, picture.go, business.go). A companion that is ready for the first time is welcomed
// (welcome.go) with the keys of the one and the past (history.go).
//
// What goes to many, a group's message or a status, is fanned out in group_message.go, and
// encrypted by phones in phone_many.go with the sender keys of signal_group.go. Groups
// (group.go) and newsletters (newsletter.go) are the server's; calls (call.go) are events
// only.
//
// # What it asserts
//
// While it runs it checks itself and its clients; see [Server.Violations].
package simulator
