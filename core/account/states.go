package account

import "go.mau.fi/whatsmeow/types/events"

// The states of an account. They are stable words: stored, shown and counted.
const (
	// StateCreated: never connected.
	StateCreated = "created"
	// StateConnecting: a first connection is being made.
	StateConnecting = "connecting"
	// StatePairing: a QR code waits for a phone.
	StatePairing = "pairing"
	// StateConnected: messages flow.
	StateConnected = "connected"
	// StateReconnecting: the connection was lost or could not be made, and is tried again.
	StateReconnecting = "reconnecting"
	// StateDisconnected: no connection is wanted, or it was given up.
	StateDisconnected = "disconnected"
	// StateLoggedOut: the keys are gone; connecting pairs anew.
	StateLoggedOut = "logged_out"
	// StateBanned: WhatsApp banned the account.
	StateBanned = "banned"
	// StateReplaced: another program uses the same keys.
	StateReplaced = "replaced"
	// StateOutdated: WhatsApp no longer accepts this version.
	StateOutdated = "outdated"
	// StateFailed: WhatsApp refused the login.
	StateFailed = "failed"
)

// The reasons of a state, stable words as well.
const (
	ReasonDialFailed     = "dial_failed"
	ReasonConnectionLost = "connection_lost"
	ReasonHalfOpen       = "half_open"
	ReasonLoginTimeout   = "login_timeout"
	ReasonRestart        = "server_restart"
	ReasonStreamError    = "stream_error"
	ReasonStoreRefused   = "store_refused"
	ReasonDeviceFailed   = "device_failed"
	ReasonStoreDown      = "store_unavailable"
	ReasonStoreFull      = "store_full"
	ReasonPairFailed     = "pair_failed"
	ReasonPairingTimeout = "pairing_timeout"
	ReasonOldPhone       = "phone_without_multidevice"
	ReasonOperator       = "operator"
	ReasonKeysRemoved    = "keys_removed"
	ReasonUnlinked       = "unlinked"
	ReasonPhoneLoggedOut = "phone_logged_out"
	ReasonBanned         = "account_banned"
	ReasonTemporaryBan   = "temporary_ban"
	ReasonReplaced       = "session_replaced"
	ReasonOutdated       = "client_outdated"
	ReasonRejected       = "login_rejected"
	ReasonLeaseLost      = "lease_lost"
	ReasonOwnedElsewhere = "owned_elsewhere"
	// ReasonImported: the record was taken over from the Node service, the keys were not.
	ReasonImported = "imported"
)

// Text says for people what a state's reason means; "" for a reason that says nothing more.
func Text(reason string) string {
	switch reason {
	case ReasonDialFailed:
		return "WhatsApp cannot be reached; trying again"
	case ReasonConnectionLost:
		return "the connection was lost; trying again"
	case ReasonHalfOpen:
		return "WhatsApp stopped answering; connecting anew"
	case ReasonLoginTimeout:
		return "WhatsApp did not answer the login; trying again"
	case ReasonRestart:
		return "WhatsApp asked for a new connection"
	case ReasonStreamError:
		return "WhatsApp ended the connection; trying again"
	case ReasonStoreRefused:
		return "an event could not be stored; connecting anew, so that WhatsApp hands it over again"
	case ReasonStoreDown:
		return "the database cannot be written; WhatsApp keeps what comes until it can"
	case ReasonStoreFull:
		return "the database has no more space; WhatsApp keeps what comes until it has"
	case ReasonDeviceFailed:
		return "the account's keys could not be read or written; connecting anew"
	case ReasonPairFailed:
		return "a phone scanned the code, but pairing failed; scan the new code"
	case ReasonPairingTimeout:
		return "no phone scanned the code in time; connect again for a new one"
	case ReasonOldPhone:
		return "the phone's WhatsApp does not support linked devices; update it and scan again"
	case ReasonOperator:
		return "as asked for"
	case ReasonKeysRemoved:
		return "the keys were removed while not connected; the phone may still list the device"
	case ReasonUnlinked:
		return "the device was unlinked on the phone; connect to pair again"
	case ReasonPhoneLoggedOut:
		return "the phone was logged out or locked by WhatsApp; connect to pair again"
	case ReasonBanned:
		return "WhatsApp banned this number"
	case ReasonTemporaryBan:
		return "WhatsApp banned this number for a while; connect again when the ban is over"
	case ReasonReplaced:
		return "another program connected with the same keys; stop it, then connect"
	case ReasonOutdated:
		return "WhatsApp no longer accepts this version; update Wildcat"
	case ReasonRejected:
		return "WhatsApp refused the login"
	case ReasonImported:
		return "taken over from the Node service, whose keys serve only itself; connect to pair again"
	case ReasonLeaseLost, ReasonOwnedElsewhere:
		return "another instance owns the account"
	}
	return ""
}

// held says whether a connection is up, coming up or waited for.
func held(state string) bool {
	switch state {
	case StateConnecting, StatePairing, StateConnected, StateReconnecting:
		return true
	}
	return false
}

// restored is the state of an account that is loaded and not connected yet.
func restored(state, reason string) (string, string) {
	if held(state) {
		return StateDisconnected, ""
	}
	if state == "" {
		return StateCreated, ""
	}
	return state, reason
}

// loggedOut tells the state and reason of a logout that WhatsApp announced.
func loggedOut(code int) (state, reason string) {
	switch events.ConnectFailureReason(code) {
	case events.ConnectFailureMainDeviceGone:
		return StateLoggedOut, ReasonPhoneLoggedOut
	case events.ConnectFailureUnknownLogout:
		return StateBanned, ReasonBanned
	}
	return StateLoggedOut, ReasonUnlinked
}
