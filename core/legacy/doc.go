// Package legacy reads the database of the Node.js service that Wildcat began as, and
// turns what it holds into the hub's records. It knows that service's layout and its
// quirks; it writes nothing, and does not know where the records go (core/migrate does).
//
// # The layout
//
// MongoDB: accounts (_id is the account's id), messages, webhooks, the GridFS bucket
// media, and auth_<account> (or the account's collectionName), whose keys serve only the
// library that wrote them and are not read.
//
// # The quirks
//
// There is no index and no schema. A number may be an int, a Long, a double, a text or
// {low, high, unsigned}; bytes may be Binary, {type: "Buffer", data: […]} or base64; a
// field may be missing. A message may be stored twice. Reactions, protocol messages and
// notices are there as texts that are empty, and media that could not be fetched as
// texts with hasMedia. What a message really was is in rawMessage, the protobuf as the
// library's object, so that is read where it is there. What cannot be read is left out
// and named: nothing in a document makes a run fail.
package legacy
