// Package legacytest writes a database as the Node.js service left it, with the quirks
// that its users' databases have, for the tests of whatever reads one.
package legacytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// The accounts. Shop is paired, Dotted has an id that cannot be a hub's, Fresh was never
// connected, and Gone was deleted, with its messages left behind.
const (
	Shop   = "shop"
	Dotted = "my.shop"
	Fresh  = "fresh"
	Gone   = "gone"
)

// People and groups.
const (
	Me    = "919000000001@s.whatsapp.net"
	Anna  = "919547400579@s.whatsapp.net"
	Bert  = "4915112345678@s.whatsapp.net"
	BertL = "77123456789012@lid"
	Group = "120363041234567890@g.us"
)

// Webhook is the URL of the one that is good.
const Webhook = "https://crm.example/hook?token=t0ken"

// PhotoSize is that of the photo, in bytes: three chunks.
const PhotoSize = 600 << 10

// Photo and Voice are the contents of the two files that are whole.
func Photo() []byte {
	b := make([]byte, PhotoSize)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// Voice is a short voice note.
func Voice() []byte { return append([]byte("OggS"), bytes.Repeat([]byte{1, 2, 3}, 50)...) }

// At is the time of the n-th message.
func At(n int) time.Time { return time.Date(2024, 3, 1, 10, n, 0, 0, time.UTC) }

// ID is an ObjectID of the n-th message's time.
func ID(n int) bson.ObjectID {
	id := bson.NewObjectIDFromTimestamp(At(n))
	copy(id[4:], []byte{0xc0, 0xff, 0xee, 0, 1, 0, byte(n >> 8), byte(n)})
	return id
}

// The files.
const (
	photoFile = 1000 + iota
	voiceFile
	damagedFile
	goneFile
)

// PhotoID and VoiceID are the files' ids in hex.
func PhotoID() string { return ID(photoFile).Hex() }

// VoiceID is the voice note's.
func VoiceID() string { return ID(voiceFile).Hex() }

// Fill writes the database, with webhooks besides those of the fixture. It may be called once.
func Fill(ctx context.Context, uri, database string, hooks ...string) (err error) {
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))) }()
	db := client.Database(database)
	for coll, docs := range map[string][]any{"accounts": accounts(), "auth_shop": keys(), "webhooks": webhooks(hooks), "messages": Messages()} {
		if _, err = db.Collection(coll).InsertMany(ctx, docs); err != nil {
			return fmt.Errorf("write %s: %w", coll, err)
		}
	}
	// As the driver makes it with the first file; the service itself made no index.
	_, err = db.Collection("media.chunks").Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "files_id", Value: 1}, {Key: "n", Value: 1}}, Options: options.Index().SetUnique(true),
	})
	if err != nil {
		return fmt.Errorf("make the index of the chunks: %w", err)
	}
	for _, f := range files() {
		if err = f.write(ctx, db); err != nil {
			return fmt.Errorf("write a file: %w", err)
		}
	}
	return nil
}

func accounts() []any {
	return []any{
		bson.D{
			{Key: "_id", Value: Shop},
			{Key: "name", Value: "The shop"},
			{Key: "collectionName", Value: "auth_shop"},
			{Key: "createdAt", Value: At(0)},
			{Key: "status", Value: "connected"},
			{Key: "updatedAt", Value: At(1)},
		},
		bson.D{{Key: "_id", Value: Dotted}, {Key: "createdAt", Value: At(2).Format(time.RFC3339)}, {Key: "status", Value: "reconnecting"}},
		bson.D{{Key: "_id", Value: Fresh}, {Key: "name", Value: "Fresh"}, {Key: "status", Value: "created"}, {Key: "createdAt", Value: At(3)}},
	}
}

// keys are some that the hub must not use, or be confused by.
func keys() []any {
	return []any{
		bson.D{{Key: "_id", Value: "creds"}, {Key: "value", Value: `{"me":{"id":"919000000001:12@s.whatsapp.net"}}`}},
		bson.D{{Key: "_id", Value: "session-919547400579.0"}, {Key: "value", Value: `{"_sessions":{}}`}},
	}
}

func webhooks(more []string) []any {
	all := []any{
		bson.D{{Key: "url", Value: Webhook}, {Key: "createdAt", Value: At(0)}},
		bson.D{{Key: "url", Value: "http://127.0.0.1:9/n8n"}},
		bson.D{{Key: "url", Value: Webhook}, {Key: "createdAt", Value: At(5)}},
		bson.D{{Key: "url", Value: "ftp://crm.example/"}, {Key: "createdAt", Value: At(0)}},
	}
	for _, u := range more {
		all = append(all, bson.D{{Key: "url", Value: u}, {Key: "createdAt", Value: At(6)}})
	}
	return all
}

type file struct {
	n       int
	account string
	message string
	mime    string
	content []byte
	lost    int32 // the number of a chunk that is not there; -1 for none
}

const chunkSize = 255 << 10

func files() []file {
	return []file{
		{n: photoFile, account: Shop, message: "PHOTO", mime: "image/jpeg", content: Photo(), lost: -1},
		{n: voiceFile, account: Shop, message: "VOICE", mime: "audio/ogg; codecs=opus", content: Voice(), lost: -1},
		{n: damagedFile, account: Shop, message: "DAMAGED", mime: "application/pdf", content: Photo(), lost: 1},
		{n: goneFile, account: Gone, message: "ORPHAN", mime: "image/png", content: []byte("png"), lost: -1},
	}
}

func (f file) write(ctx context.Context, db *mongo.Database) error {
	id := ID(f.n)
	for n, left := int32(0), f.content; len(left) > 0; n++ {
		piece := left[:min(len(left), chunkSize)]
		left = left[len(piece):]
		if n == f.lost {
			continue
		}
		_, err := db.Collection("media.chunks").InsertOne(ctx, bson.D{
			{Key: "_id", Value: bson.NewObjectID()}, {Key: "files_id", Value: id}, {Key: "n", Value: n}, {Key: "data", Value: bson.Binary{Data: piece}},
		})
		if err != nil {
			return err
		}
	}
	_, err := db.Collection("media.files").InsertOne(ctx, bson.D{
		{Key: "_id", Value: id},
		{Key: "length", Value: int32(len(f.content))},
		{Key: "chunkSize", Value: int32(chunkSize)}, //nolint:gosec // small
		{Key: "uploadDate", Value: At(10)},
		{Key: "filename", Value: fmt.Sprintf("%s_%s_%d", f.account, f.message, At(10).UnixMilli())},
		{Key: "metadata", Value: bson.D{
			{Key: "accountId", Value: f.account},
			{Key: "messageId", Value: f.message},
			{Key: "chatId", Value: Anna},
			{Key: "uploadedAt", Value: At(10)},
			{Key: "mimetype", Value: f.mime},
			{Key: "ptt", Value: f.message == "VOICE"},
			{Key: "fileLength", Value: bson.D{{Key: "low", Value: int32(len(f.content))}, {Key: "high", Value: int32(0)}, {Key: "unsigned", Value: true}}}, //nolint:gosec // small
			{Key: "caption", Value: nil},
			{Key: "width", Value: 640.0},
		}},
	})
	return err
}
