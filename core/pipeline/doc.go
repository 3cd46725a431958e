// Package pipeline takes an event from the moment it is handed over to the moment
// everything that follows from it is stored: append (deduplicated, numbered in its
// chat), then in the chat's lane the rules, whose verdict is stored once and never
// computed again, and the sends and deliveries that it asks for.
//
// It owns identifiers, lanes and stored verdicts. It does not talk to WhatsApp,
// send, or deliver: packages send and deliver take it from the stored rows.
package pipeline
