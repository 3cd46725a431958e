package mongo

import "go.mongodb.org/mongo-driver/v2/mongo"

// Database is the database itself, for what else the hub keeps in it: a process has one
// client. It serves until Close.
func (s *Store) Database() *mongo.Database { return s.db }
