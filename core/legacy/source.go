package legacy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// The errors that callers tell apart, always wrapped.
var (
	// ErrNotLegacy: a hub of this program wrote the database.
	ErrNotLegacy = errors.New("this is a database of the hub itself: wildcat migrate moves it")
	// ErrEmpty: the database holds no account; most likely its name is misspelt.
	ErrEmpty = errors.New("the source holds no accounts")
)

const (
	bucketName     = "media"
	selectTimeout  = 5 * time.Second
	connectTimeout = 10 * time.Second
	batchSize      = 200
)

// Source is the database of an old service. It is only read. Close it.
type Source struct {
	// Name is for people, without secrets.
	Name string
	// ID tells it from others. It is the data's, by whatever address that was reached.
	ID string

	client *mongo.Client
	db     *mongo.Database
}

// Open connects, and refuses a database that is not the old service's.
func Open(ctx context.Context, uri, database string) (*Source, error) {
	opts := options.Client().ApplyURI(uri)
	if err := opts.Validate(); err != nil {
		// The driver's text may repeat the URI, which may hold a password.
		return nil, errors.New("source: expected mongodb://host:port or mongodb+srv://host, with valid options")
	}
	opts.SetAppName("wildcat import-legacy").SetRetryWrites(false)
	if opts.ServerSelectionTimeout == nil {
		opts.SetServerSelectionTimeout(selectTimeout)
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("connect to the source: %w", err)
	}
	s := &Source{Name: "MongoDB database " + database + " of the Node service", client: client, db: client.Database(database)}
	if err = s.check(ctx); err == nil {
		s.ID, err = s.identify(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", database, err), s.Close())
	}
	return s, nil
}

func (s *Source) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	err := s.db.Collection("meta").FindOne(ctx, bson.D{{Key: "_id", Value: "schema"}}).Err()
	switch {
	case err == nil:
		return ErrNotLegacy
	case !errors.Is(err, mongo.ErrNoDocuments):
		return err
	}
	err = s.db.Collection("accounts").FindOne(ctx, bson.D{}).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return ErrEmpty
	}
	return err
}

// identify makes the ID: of what the server calls the accounts' collection, which is the
// same on all members of a replica set. Where it does not say, the account that comes
// first stands for it.
func (s *Source) identify(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	of := []string{"first account", s.db.Name()}
	specs, err := s.db.ListCollectionSpecifications(ctx, bson.D{{Key: "name", Value: "accounts"}})
	// Some users may read the collections, and not list them.
	if err == nil && len(specs) == 1 && specs[0].UUID != nil {
		of = []string{"collection", string(specs[0].UUID.Data)}
	} else {
		var doc bson.D
		err := s.db.Collection("accounts").FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "_id", Value: 1}})).Decode(&doc)
		if err != nil {
			return "", fmt.Errorf("recognise the source: %w", err)
		}
		of = append(of, fields(doc).text("_id"))
	}
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return hex.EncodeToString(sum[:16]), nil
}

// Close disconnects.
func (s *Source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return s.client.Disconnect(ctx)
}

// Accounts reads all accounts, by their ids, and names them.
func (s *Source) Accounts(ctx context.Context, names Names) (all []Account, skipped []Skipped, err error) {
	var docs []fields
	var old []string
	err = s.each(ctx, "accounts", func(doc fields) error {
		docs = append(docs, doc)
		if id := doc.text("_id", "id"); id != "" {
			old = append(old, id)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	called := names.of(old)
	for _, doc := range docs {
		if a, skip := account(doc, called); skip != nil {
			skipped = append(skipped, *skip)
		} else {
			all = append(all, a)
		}
	}
	return all, skipped, nil
}

// Webhooks reads all webhooks, oldest first.
func (s *Source) Webhooks(ctx context.Context) (all []Webhook, skipped []Skipped, err error) {
	err = s.each(ctx, "webhooks", func(doc fields) error {
		if w, skip := webhook(doc); skip != nil {
			skipped = append(skipped, *skip)
		} else {
			all = append(all, w)
		}
		return nil
	})
	return all, skipped, err
}

// Messages reads all messages in the order in which they were stored. Either the message
// or why it is left out is given. names has the accounts' ids by their old ones.
func (s *Source) Messages(ctx context.Context, names map[string]string, do func(Message, *Skipped) error) error {
	return s.each(ctx, "messages", func(doc fields) error { return do(message(doc, names)) })
}

// Files reads what is known of all files, in the same way.
func (s *Source) Files(ctx context.Context, names map[string]string, do func(File, *Skipped) error) error {
	return s.each(ctx, bucketName+".files", func(doc fields) error { return do(file(doc, names)) })
}

// each reads a collection in the order of its ids, which is that of storing.
func (s *Source) each(ctx context.Context, coll string, do func(fields) error) error {
	cur, err := s.db.Collection(coll).Find(ctx, bson.D{},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(batchSize))
	if err != nil {
		return fmt.Errorf("read %s of the source: %w", coll, err)
	}
	defer cur.Close(ctx)
	for cur.Next(ctx) {
		var doc bson.D
		if err := cur.Decode(&doc); err != nil {
			doc = nil // not a document: what it lacks is named
		}
		if err := do(fields(doc)); err != nil {
			return err
		}
	}
	if err := cur.Err(); err != nil {
		return fmt.Errorf("read %s of the source: %w", coll, err)
	}
	return nil
}
