package mongo

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// golden compares with a file, or writes it under -update.
func golden(t *testing.T, file string, lines []string) {
	t.Helper()
	text := strings.Join(lines, "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644)) //nolint:gosec // a file of the repository
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "go test -update writes %s", file)
}

func TestIndexesAreAsTheyWere(t *testing.T) {
	var lines []string
	for _, i := range indexes() {
		line := fmt.Sprintf("%-14s %-16s (%s)", i.coll, i.name, strings.Join(i.keys, ", "))
		if i.unique {
			line += " unique"
		}
		if i.partial != nil {
			raw, err := bson.MarshalExtJSON(i.partial, false, false)
			require.NoError(t, err)
			line += " where " + string(raw)
		}
		if i.ttl {
			line += " until"
		}
		lines = append(lines, line)
	}
	golden(t, "testdata/indexes.golden", lines)
	seen := map[string]bool{}
	for _, i := range indexes() {
		key := i.coll + fmt.Sprint(i.keys)
		require.False(t, seen[key], "servers before 5.0 take two indexes with the same keys for one")
		seen[key] = true
	}
}

// query is what a command asks of a collection.
type query struct {
	coll   string
	filter bson.Raw
	sort   bson.Raw
}

// shape is a query without its values.
func (q query) shape() string {
	out := fmt.Sprintf("%-14s %s", q.coll, shapeOf(q.filter))
	if len(q.sort) > 0 {
		elements, _ := q.sort.Elements()
		var by []string
		for _, x := range elements {
			dir := ""
			if v, _ := x.Value().AsInt64OK(); v < 0 {
				dir = " desc"
			}
			by = append(by, x.Key()+dir)
		}
		out += " by " + strings.Join(by, ", ")
	}
	return out
}

func shapeOf(filter bson.Raw) string {
	elements, _ := filter.Elements()
	parts := []string{}
	for _, x := range elements {
		switch v := x.Value(); {
		case x.Key() == "$and":
			list, _ := v.Array().Values()
			for _, part := range list {
				parts = append(parts, shapeOf(part.Document()))
			}
		case v.Type == bson.TypeEmbeddedDocument && strings.HasPrefix(first(v.Document()), "$"):
			inner, _ := v.Document().Elements()
			for _, y := range inner {
				parts = append(parts, x.Key()+" "+strings.TrimPrefix(y.Key(), "$"))
			}
		default:
			parts = append(parts, x.Key())
		}
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func first(d bson.Raw) string {
	if x, err := d.IndexErr(0); err == nil {
		return x.Key()
	}
	return ""
}

// queries finds out what commands ask for.
type queries struct {
	mu    sync.Mutex
	known map[string]query
}

func (q *queries) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		coll, _ := e.Command.Lookup(e.CommandName).StringValueOK()
		filters := []query{}
		at := func(name string) bson.Raw { d, _ := e.Command.Lookup(name).DocumentOK(); return d }
		switch e.CommandName {
		case "find":
			filters = append(filters, query{coll, at("filter"), at("sort")})
		case "findAndModify":
			filters = append(filters, query{coll, at("query"), at("sort")})
		case "aggregate":
			filters = append(filters, query{coll, e.Command.Lookup("pipeline", "0", "$match").Document(), nil})
		case "update", "delete":
			list, _ := e.Command.Lookup(e.CommandName + "s").Array().Values()
			for _, v := range list {
				filters = append(filters, query{coll, v.Document().Lookup("q").Document(), nil})
			}
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, f := range filters {
			if _, ok := q.known[f.shape()]; !ok {
				f.filter, f.sort = slices.Clone(f.filter), slices.Clone(f.sort)
				q.known[f.shape()] = f
			}
		}
	}}
}

// explain names the index that serves a query; "" if it reads the whole collection.
func explain(t *testing.T, db *mongo.Database, q query) string {
	t.Helper()
	find := doc(el("find", q.coll), el("filter", q.filter))
	if len(q.sort) > 0 {
		find = append(find, el("sort", q.sort))
	}
	raw, err := db.RunCommand(t.Context(), doc(el("explain", find), el("verbosity", "queryPlanner"))).Raw()
	require.NoError(t, err)
	return indexIn(raw.Lookup("queryPlanner", "winningPlan"))
}

// indexIn looks for the index in a plan, however deep it is.
func indexIn(plan bson.RawValue) string {
	d, ok := plan.DocumentOK()
	if !ok {
		return ""
	}
	if name, ok := d.Lookup("indexName").StringValueOK(); ok {
		return name
	}
	if stage, _ := d.Lookup("stage").StringValueOK(); stage == "IDHACK" {
		return "_id_"
	}
	elements, _ := d.Elements()
	for _, x := range elements {
		if list, ok := x.Value().ArrayOK(); ok {
			values, _ := list.Values()
			for _, v := range values {
				if name := indexIn(v); name != "" {
					return name
				}
			}
		} else if name := indexIn(x.Value()); name != "" {
			return name
		}
	}
	return ""
}

// check explains every query that was made, and those of the writes besides. What reads
// everything is what is small: accounts and webhooks.
func (q *queries) check(t *testing.T, uri string) {
	client := admin(t, uri)
	for _, w := range writes() {
		s := openStore(t, Config{URI: uri}, Deps{Monitor: q.monitor()})
		require.NoError(t, w.before(t.Context(), s))
		_, err := w.run(t.Context(), s)
		require.NoError(t, err)
	}
	name := database(t, uri)
	openStore(t, Config{URI: uri, Database: name}, Deps{})
	var lines []string
	for shape, x := range q.known {
		index := explain(t, client.Database(name), x)
		small := x.coll == collAccounts || x.coll == collWebhooks
		if index == "" && (!small || !strings.HasSuffix(shape, "everything")) {
			t.Errorf("no index serves %s", shape)
		}
		if index == "" {
			index = "-"
		}
		lines = append(lines, fmt.Sprintf("%-90s %s", shape, index))
	}
	slices.Sort(lines)
	if isFake(t, client) { // another server may choose another index
		golden(t, "testdata/queries.golden", lines)
	}
}

func TestTheFakeRefusesWhatNoIndexServes(t *testing.T) {
	uri := server(t)
	client := admin(t, uri)
	if !isFake(t, client) {
		t.Skip("a real server reads the whole collection instead")
	}
	name := database(t, uri)
	openStore(t, Config{URI: uri, Database: name}, Deps{})
	coll := client.Database(name).Collection(collEvents)
	for what, find := range map[string]struct{ filter, sort bson.D }{
		"a field without index":                         {doc(el("storedAt", 1)), nil},
		"a partial index that the query does not imply": {doc(el("open", nil)), nil},
		"an order that the index does not have":         {doc(el("account", "a")), doc(el("epoch", 1))},
		"an operator that it does not know":             {doc(el("_id", doc(el("$regex", "x")))), nil},
	} {
		_, err := coll.Find(t.Context(), find.filter, options.Find().SetSort(find.sort))
		require.Error(t, err, what)
	}
	_, err := coll.Find(t.Context(), doc(el("account", "a")), options.Find().SetSort(doc(el("pos", -1))))
	require.NoError(t, err)
}
