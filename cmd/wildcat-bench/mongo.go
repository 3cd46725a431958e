package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store/mongo"
)

// mongoServer is where the rows about MongoDB are measured.
type mongoServer struct {
	uri string
	// what says which server it is: a ratio means little without it.
	what string
}

// findMongo asks the server at uri what it is; nil without a uri.
func findMongo(ctx context.Context, uri string) (*mongoServer, error) {
	if uri == "" {
		_, _ = fmt.Fprintln(os.Stderr, "no rows about MongoDB: neither -mongo nor MONGODB_URI names a server")
		return nil, nil
	}
	client, err := driver.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		return nil, fmt.Errorf("connect to MongoDB: %w", err)
	}
	defer func() { _ = client.Disconnect(ctx) }()
	var info struct {
		Version string `bson:"version"`
		Fake    bool   `bson:"fakemongo"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return nil, fmt.Errorf("ask MongoDB for its version: %w", err)
	}
	what := "MongoDB " + info.Version
	if info.Fake {
		what = "the fake server, which is slower than any MongoDB"
	}
	return &mongoServer{uri: uri, what: what}, nil
}

// database names a database for a measurement; drop removes it.
func (m *mongoServer) database() (name string, drop func()) {
	name = fmt.Sprintf("wildcat_test_bench_%016x", rand.Uint64())
	return name, func() {
		if err := mongo.Drop(context.Background(), m.uri, name); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
		}
	}
}
