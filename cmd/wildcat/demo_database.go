package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wildcathub/wildcat/core/store/mongo"
)

// demoDatabase is where a demo stores: a MongoDB database of its own, or, if uri is "",
// a file in the demo's folder.
type demoDatabase struct{ uri, name string }

func newDemoDatabase(uri string) demoDatabase {
	return demoDatabase{uri: uri, name: fmt.Sprintf("wildcat_demo_%016x", rand.Uint64())}
}

// yaml is the part of the configuration that says so.
func (d demoDatabase) yaml() string {
	if d.uri == "" {
		return ""
	}
	return fmt.Sprintf("database: {uri: %q, name: %q}\n", d.uri, d.name)
}

// drop removes what the demo stored.
func (d demoDatabase) drop() error {
	if d.uri == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return mongo.Drop(ctx, d.uri, d.name)
}
