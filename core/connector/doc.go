// Package connector owns the endpoints that events are delivered to: the entries under
// `connectors:`, registered webhooks, and the programs that run as processes of their
// own, each of which it starts, watches, restarts and ends. It does not own the
// deliveries: queueing, retrying and their order are package deliver's, and the
// contract with a program is package sdk's.
package connector
