package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Drop removes a whole database: what tests and demonstrations have made.
func Drop(ctx context.Context, uri, database string) (err error) {
	m, err := newMetrics(nil)
	if err != nil {
		return err
	}
	opts, err := clientOptions(uri, Deps{}, m)
	if err != nil {
		return err
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	defer func() { err = errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))) }()
	if err := client.Database(database).Drop(ctx); err != nil {
		return fmt.Errorf("drop database %s: %w", database, err)
	}
	return nil
}
