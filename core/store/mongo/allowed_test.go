package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
)

// allowedCommands are the commands that the engine may send, with their options. Those
// that the driver adds to each are in commonOptions.
func allowedCommands() map[string][]string {
	return map[string][]string{
		"insert":        {"documents", "ordered"},
		"update":        {"updates", "ordered"},
		"delete":        {"deletes", "ordered"},
		"find":          {"filter", "sort", "limit", "skip", "projection", "singleBatch", "batchSize"},
		"getMore":       {"collection", "batchSize"},
		"findAndModify": {"query", "update", "new", "sort"},
		"aggregate":     {"pipeline", "cursor"},
		"createIndexes": {"indexes"},
		"killCursors":   {"cursors"},
		"dropDatabase":  nil, // by tests
		"endSessions":   nil,
	}
}

func commonOptions() []string {
	return []string{"$db", "lsid", "$clusterTime", "maxTimeMS", "readConcern", "writeConcern", "$readPreference"}
}

// allowedOperators are the words with a dollar that may occur, wherever they do.
func allowedOperators() []string {
	return []string{
		"$set", "$unset", "$inc", "$min", "$max", "$push", "$each", "$slice", "$addToSet", "$pull",
		"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$and", "$exists",
		"$match", "$group", "$sort", "$limit", "$sum",
	}
}

// watch fails the test on whatever is outside the list of what all servers have.
func watch(t *testing.T) *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		if err := checkCommand(e.CommandName, e.Command); err != nil {
			t.Errorf("%v\n%.2000s", err, e.Command)
		}
	}}
}

func checkCommand(name string, command bson.Raw) error {
	options, ok := allowedCommands()[name]
	if !ok {
		return fmt.Errorf("command %s is not allowed", name)
	}
	elements, err := command.Elements()
	if err != nil {
		return err
	}
	for _, x := range elements[1:] {
		if !slices.Contains(options, x.Key()) && !slices.Contains(commonOptions(), x.Key()) {
			return fmt.Errorf("option %s of %s is not allowed", x.Key(), name)
		}
	}
	if slices.Contains([]string{"insert", "update", "delete", "findAndModify"}, name) {
		wc, ok := command.Lookup("writeConcern").DocumentOK()
		if !ok || wc.Lookup("w").StringValue() != "majority" || !wc.Lookup("j").Boolean() {
			return fmt.Errorf("%s is not acknowledged by a majority's journals", name)
		}
	}
	for _, part := range []string{"updates", "deletes", "query", "update", "filter", "pipeline", "indexes"} {
		if v, err := command.LookupErr(part); err == nil {
			if err := checkWords(v); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return checkUpdates(command)
}

// checkWords looks for words with a dollar, at every depth.
func checkWords(v bson.RawValue) error {
	if list, ok := v.ArrayOK(); ok {
		values, err := list.Values()
		for _, x := range values {
			err = errors.Join(err, checkWords(x))
		}
		return err
	}
	inner, ok := v.DocumentOK()
	if !ok {
		return nil
	}
	elements, err := inner.Elements()
	if err != nil {
		return err
	}
	for _, x := range elements {
		if strings.HasPrefix(x.Key(), "$") && !slices.Contains(allowedOperators(), x.Key()) {
			return fmt.Errorf("operator %s is not allowed", x.Key())
		}
		if err := checkWords(x.Value()); err != nil {
			return err
		}
	}
	return nil
}

// checkUpdates refuses upserts by operators, whose $inc lost updates on one server, and
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
		o := v.Document()
		for _, option := range []string{"collation", "arrayFilters", "hint", "c", "sort"} {
			if _, err := o.LookupErr(option); err == nil {
				return fmt.Errorf("update option %s is not allowed", option)
			}
		}
		u, ok := o.Lookup("u").DocumentOK()
		if !ok {
			return errors.New("an update by a pipeline is not allowed")
		}
		first, err := u.IndexErr(0)
		upsert, _ := o.Lookup("upsert").BooleanOK()
		if upsert && (err != nil || strings.HasPrefix(first.Key(), "$")) {
			return errors.New("an upsert by operators is not allowed")
		}
	}
	return nil
}

func TestTheMonitorRefusesWhatNotEveryServerHas(t *testing.T) {
	wc := bson.E{Key: "writeConcern", Value: doc(el("w", "majority"), el("j", true))}
	for name, tt := range map[string]struct {
		command bson.D
		bad     string
	}{
		"a plain find":          {doc(el("find", "c"), el("filter", doc(el("a", 1)))), ""},
		"a command":             {doc(el("renameCollection", "c")), "command renameCollection"},
		"an option":             {doc(el("find", "c"), el("collation", doc())), "option collation"},
		"a transaction":         {doc(el("insert", "c"), wc, el("startTransaction", true)), "option startTransaction"},
		"an operator":           {doc(el("find", "c"), el("filter", doc(el("$where", "1")))), "operator $where"},
		"an operator deep down": {doc(el("find", "c"), el("filter", doc(el("$and", bson.A{doc(el("a", doc(el("$regex", "x"))))})))), "operator $regex"},
		"an unsafe write":       {doc(el("insert", "c")), "journals"},
		"an upsert by $inc": {doc(el("update", "c"), wc, el("updates", bson.A{
			doc(el("q", doc()), el("u", doc(el("$inc", doc(el("n", 1))))), el("upsert", true)),
		})), "upsert by operators"},
		"an update by a pipeline": {doc(el("update", "c"), wc, el("updates", bson.A{
			doc(el("q", doc()), el("u", bson.A{})),
		})), "pipeline"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := bson.Marshal(tt.command)
			if err != nil {
				t.Fatal(err)
			}
			err = checkCommand(tt.command[0].Key, raw)
			if tt.bad == "" && err != nil || tt.bad != "" && (err == nil || !strings.Contains(err.Error(), tt.bad)) {
				t.Fatalf("want %q, got %v", tt.bad, err)
			}
		})
	}
}
