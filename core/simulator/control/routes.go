package control

import "slices"

// routes is the table of everything under /sandbox/ that is JSON. Numbers are digits, with
// or without a plus. A device's jid is 15550001:1@s.whatsapp.net.
func routes() []route {
	return slices.Concat(
		tagged("phones",
			created(post("/sandbox/phones", "Make a phone", (*api).addPhone)),
			get("/sandbox/phones", "List the phones", (*api).phones),
			post("/sandbox/phones/{number}/scan", "Scan a QR code: link the client that shows it", (*api).scan),
			post("/sandbox/phones/{number}/enter-code", "Enter a pairing code: link the client that shows it", (*api).enterCode),
			post("/sandbox/phones/{number}/spoil-link", "Make the phone sign its next pairing wrongly", (*api).spoilLink),
			act("/sandbox/phones/{number}/unlink", "Unlink all companions", (*api).unlinkPhone),
		),
		tagged("messages",
			post("/sandbox/phones/{number}/send", "Send a text, a location, contacts or a poll", (*api).send),
			post("/sandbox/send-batch", "Send many texts, in order; an error says how many are sent", (*api).sendBatch),
			post("/sandbox/phones/{number}/react", "React to a message", (*api).react),
			post("/sandbox/phones/{number}/edit", "Change the text of a message of one's own", (*api).edit),
			post("/sandbox/phones/{number}/revoke", "Delete a message for everyone", (*api).revoke),
			post("/sandbox/phones/{number}/vote", "Vote in a poll", (*api).vote),
			post("/sandbox/phones/{number}/read", "Read messages: their writers are told", (*api).read),
			post("/sandbox/phones/{number}/disappearing", "Make what is written in a chat disappear", (*api).disappearing),
			post("/sandbox/phones/{number}/replies", "Set what the phone answers by itself", (*api).setReplies),
			get("/sandbox/phones/{number}/replies", "What the phone answers by itself", (*api).replies),
			get("/sandbox/phones/{number}/received", "What the phone received", (*api).received,
				queryParam{"after", "integer", "only messages numbered above this"},
				queryParam{"wait", "duration", "wait so long, at most, until there is one"}),
			get("/sandbox/phones/{number}/chats", "The chats that the phone shows", (*api).chats),
			get("/sandbox/phones/{number}/messages", "What the phone shows of a chat, received and sent", (*api).messages,
				queryParam{"chat", "string", "a number, or a chat's JID"}),
			get("/sandbox/phones/{number}/delivery", "What became of a message that the phone sent", (*api).delivery,
				queryParam{"id", "string", "of the message"},
				queryParam{"wait", "duration", "wait so long, at most, until a device has confirmed it"}),
		),
		tagged("devices",
			get("/sandbox/devices", "List the companions of all phones", (*api).devices),
			act("/sandbox/devices/{jid}/cut", "Close the connection, as a lost network does", (*api).cut),
			act("/sandbox/devices/{jid}/unlink", "Unlink the companion", (*api).unlinkDevice),
			post("/sandbox/devices/{jid}/stream-error", "Send a stream error and end the connection", (*api).streamError),
		),
		tagged("sandbox",
			fetch("/sandbox/openapi.json", "application/json", "This document", (*api).openAPI),
			get("/sandbox/root-key", "The key that clients trust in place of WhatsApp's", (*api).rootKey),
			get("/sandbox/invariants", "The invariants that were broken; empty is what a test wants", (*api).invariants),
			fetch("/sandbox/snapshot", "application/octet-stream", "The whole state, for wildcat sandbox --restore", (*api).snapshot),
			get("/sandbox/stats", "Counts since the start", (*api).stats),
		),
	)
}
