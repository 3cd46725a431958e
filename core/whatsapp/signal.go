package whatsapp

import "time"

// SignalKind names what happened to a connection.
type SignalKind string

// The signals. After those marked "over" nothing more can come of the client: close it.
const (
	// SignalQR: the device is not paired; Codes are the pairing strings, to be shown one
	// after the other, the first for 60 s and the others for 20 s.
	SignalQR SignalKind = "qr"
	// SignalPaired: the phone scanned a code; JID and LID are set, and the keys are
	// saved. The server then closes (SignalRestart).
	SignalPaired SignalKind = "paired"
	// SignalPairFailed (over): a code was scanned, but pairing failed; see Err.
	SignalPairFailed SignalKind = "pair_failed"
	// SignalOldPhone: a code was scanned by a phone without multi-device.
	SignalOldPhone SignalKind = "old_phone"
	// SignalConnected: logged in and ready.
	SignalConnected SignalKind = "connected"
	// SignalSynced: WhatsApp has handed over what waited while we were away.
	SignalSynced SignalKind = "synced"
	// SignalRestart (over): WhatsApp asks for a new connection, as after pairing.
	SignalRestart SignalKind = "restart"
	// SignalDisconnected (over): the connection was lost or closed by the server.
	SignalDisconnected SignalKind = "disconnected"
	// SignalKeepAlive: a keepalive was not answered; Since is when the last one was.
	SignalKeepAlive SignalKind = "keepalive"
	// SignalLoggedOut (over): the phone removed the device; its keys are gone. Code is WhatsApp's.
	SignalLoggedOut SignalKind = "logged_out"
	// SignalBanned (over): a temporary ban of Code, for the time of Expire (0: not told).
	SignalBanned SignalKind = "banned"
	// SignalReplaced (over): another connection with the same keys took over.
	SignalReplaced SignalKind = "replaced"
	// SignalOutdated (over): WhatsApp no longer accepts this version.
	SignalOutdated SignalKind = "outdated"
	// SignalRejected (over): the login was refused with Code.
	SignalRejected SignalKind = "rejected"
	// SignalStreamError (over): the server ended the stream with Code.
	SignalStreamError SignalKind = "stream_error"
	// SignalRefused (over): the handler failed with Err, and from then on everything is refused.
	SignalRefused SignalKind = "refused"
	// SignalDeviceFailed (over): the device store failed with Err.
	SignalDeviceFailed SignalKind = "device_failed"
)

// Signal is something that happened to the connection rather than in a chat.
type Signal struct {
	Kind   SignalKind
	Codes  []string
	JID    string
	LID    string
	Code   int
	Expire time.Duration
	Since  time.Time
	Err    error
}
