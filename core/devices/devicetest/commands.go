package devicetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// CheckCommand fails on a command to a MongoDB server that not every server has that
// Wildcat runs on, or that is not durable. It is for a test's command monitor.
func CheckCommand(name string, command bson.Raw) error {
	options, ok := map[string][]string{
		"update":        {"updates", "ordered"},
		"delete":        {"deletes", "ordered"},
		"find":          {"filter", "sort", "limit", "projection", "singleBatch", "batchSize"},
		"getMore":       {"collection", "batchSize"},
		"findAndModify": {"query", "update", "new"},
		"createIndexes": {"indexes"},
		"killCursors":   {"cursors"},
		"endSessions":   nil,
	}[name]
	if !ok {
		return fmt.Errorf("command %s is not allowed", name)
	}
	elements, err := command.Elements()
	if err != nil {
		return err
	}
	common := []string{"$db", "lsid", "$clusterTime", "maxTimeMS", "readConcern", "writeConcern", "$readPreference"}
	for _, x := range elements[1:] {
		if !slices.Contains(options, x.Key()) && !slices.Contains(common, x.Key()) {
			return fmt.Errorf("option %s of %s is not allowed", x.Key(), name)
		}
		if !slices.Contains(common, x.Key()) {
			if err := checkWords(x.Value()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if slices.Contains([]string{"update", "delete", "findAndModify"}, name) {
		wc, ok := command.Lookup("writeConcern").DocumentOK()
		if !ok || wc.Lookup("w").StringValue() != "majority" || !wc.Lookup("j").Boolean() {
			return fmt.Errorf("%s is not acknowledged by a majority's journals", name)
		}
	}
	return checkUpdates(command)
}

// checkWords looks for words with a dollar, at every depth.
func checkWords(v bson.RawValue) error {
	var elements []bson.RawElement
	var err error
	if list, ok := v.ArrayOK(); ok {
		values, err := list.Values()
		for _, x := range values {
			err = errors.Join(err, checkWords(x))
		}
		return err
	} else if inner, ok := v.DocumentOK(); ok {
		elements, err = inner.Elements()
	}
	for _, x := range elements {
		if strings.HasPrefix(x.Key(), "$") && !slices.Contains([]string{"$set", "$inc", "$gte", "$lt", "$lte", "$in", "$ne"}, x.Key()) {
			return fmt.Errorf("operator %s is not allowed", x.Key())
		}
		err = errors.Join(err, checkWords(x.Value()))
	}
	return err
}

// checkUpdates refuses upserts by operators, which lose updates on one server, and
// updates by pipelines.
func checkUpdates(command bson.Raw) error {
	list, ok := command.Lookup("updates").ArrayOK()
	if !ok {
		return nil
	}
	values, err := list.Values()
	if err != nil {
		return err
	}
	for _, v := range values {
		u, ok := v.Document().Lookup("u").DocumentOK()
		if !ok {
			return errors.New("an update by a pipeline is not allowed")
		}
		first, err := u.IndexErr(0)
		upsert, _ := v.Document().Lookup("upsert").BooleanOK()
		if upsert && (err != nil || strings.HasPrefix(first.Key(), "$")) {
			return errors.New("an upsert by operators is not allowed")
		}
	}
	return nil
}
