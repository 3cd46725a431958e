"""Databases, collections and commands of the fake server.

It is stricter than MongoDB where that finds mistakes: a query must have an index that
serves it and its order (as with mongod's notablescan), two indexes of a collection may
not have the same keys (as before 5.0), and what is not known is refused.
"""
import copy
import datetime
import itertools

import bson
import mongomock
from mongomock.filtering import filter_applies

from index import Index, choose, order, plan


class Failure(Exception):
    def __init__(self, code, name, text):
        super().__init__(text)
        self.code, self.name, self.text = code, name, text


def duplicate(index, document):
    return Failure(11000, "DuplicateKey", "E11000 duplicate key error index: %s dup key: %r" % (
        index.name, [document.get(k) for k, _ in index.keys]))


class Collection:
    def __init__(self, name):
        self.name, self.documents = name, {}
        self.indexes = [Index("_id_", [("_id", 1)], unique=True)]

    def put(self, document, old=None):
        """Inserts a document, or replaces old by it."""
        document.setdefault("_id", bson.ObjectId())
        if old is not None and order(old["_id"]) != order(document["_id"]):
            raise Failure(66, "ImmutableField", "_id cannot be changed")
        if len(bson.encode(document)) > 16 << 20:
            raise Failure(10334, "BSONObjectTooLarge", "document too large")
        mine = order(document["_id"])
        for index in self.indexes:
            if index.unique and index.taken(document, mine if old is not None else None):
                raise duplicate(index, document)
        if old is not None:
            self.forget(old)
        self.documents[mine] = document
        for index in self.indexes:
            index.add(document, mine)

    def forget(self, document):
        mine = order(document["_id"])
        for index in self.indexes:
            index.remove(document, mine)
        del self.documents[mine]

    def select(self, query, sort=None):
        """The matching documents, in the order of the index that serves query and sort."""
        if not self.documents:
            filter_applies(query, {})  # refuses what it does not know
        self.expire()
        if not query and not sort:
            return list(self.documents.values())
        ids = plan(self.indexes, query, sort)
        if ids is None:
            raise Failure(291, "NoQueryExecutionPlans", "no index of %s serves %r sorted by %r" % (self.name, query, sort))
        return [d for d in (self.documents[i] for i in ids) if filter_applies(query, d)]

    def expire(self):
        now = datetime.datetime.utcnow()
        for index in self.indexes:
            if index.ttl is not None:
                field = index.keys[0][0]
                for d in [d for d in self.documents.values() if isinstance(d.get(field), datetime.datetime)]:
                    if d[field] + datetime.timedelta(seconds=index.ttl) < now:
                        self.forget(d)

    def change(self, old, update):
        """A document as an update leaves it."""
        if not any(k.startswith("$") for k in update):
            new = dict(copy.deepcopy(update))
            new.setdefault("_id", old["_id"])
            return {"_id": new.pop("_id"), **new}
        scratch = mongomock.MongoClient().scratch.one
        scratch.insert_one(copy.deepcopy(old))
        scratch.update_one({"_id": old["_id"]}, update)
        return scratch.find_one()


class Server:
    def __init__(self):
        self.databases, self.cursors, self.next, self.faults = {}, {}, itertools.count(1), {}

    def run(self, name, command):
        method = getattr(self, "do_" + name, None)
        if method is None:
            raise Failure(59, "CommandNotFound", "no such command: %s" % name)
        return method(command)

    def collection(self, command):
        name = command[next(iter(command))]
        return self.databases.setdefault(command["$db"], {}).setdefault(name, Collection(name))

    # Faults, as mongod's own tests have them.

    def do_configureFailPoint(self, c):
        mode = c["mode"]
        times = mode["times"] if isinstance(mode, dict) else (0 if mode == "off" else 1 << 30)
        self.faults = {n: [times, c.get("data", {})] for n in c.get("data", {}).get("failCommands", [])}
        return {}

    def fault(self, name, command):
        entry = self.faults.get(name)
        if not entry or entry[0] <= 0:
            return None
        if entry[1].get("namespace", "") not in ("", "%s.%s" % (command.get("$db"), command[name])):
            return None
        entry[0] -= 1
        return entry[1]

    # Reading.

    def do_ping(self, c):
        return {}

    do_endSessions = do_ping

    def do_buildInfo(self, c):
        return {"version": "4.4.0", "fakemongo": True}

    def cursor(self, c, documents, size):
        namespace = "%s.%s" % (c["$db"], c.get("collection") or c[next(iter(c))])
        batch, total = [], 0
        while documents and len(batch) < size and total < 12 << 20:
            total += len(bson.encode(documents[0]))
            batch.append(documents.pop(0))
        cursor_id = 0
        if documents:
            cursor_id = next(self.next)
            self.cursors[cursor_id] = documents
        return cursor_id, namespace, batch

    def first(self, c, documents, size):
        cursor_id, namespace, batch = self.cursor(c, documents, size)
        return {"cursor": {"id": bson.int64.Int64(cursor_id), "ns": namespace, "firstBatch": batch}}

    def do_find(self, c):
        found = self.collection(c).select(c.get("filter", {}), c.get("sort"))[c.get("skip", 0):]
        if c.get("limit"):
            found = found[:c["limit"]]
        fields = c.get("projection")
        if fields:
            if not all(v == 1 and "." not in k for k, v in fields.items()):
                raise Failure(31249, "Projection", "projection %r" % fields)
            found = [{k: d[k] for k in d if k in fields or k == "_id"} for d in found]
        single = c.get("singleBatch") or c.get("limit") and c["limit"] <= c.get("batchSize", 101)
        return self.first(c, found, c.get("batchSize", 1 << 30 if single else 101))

    def do_aggregate(self, c):
        stages = list(c["pipeline"])
        query = stages.pop(0)["$match"] if stages and "$match" in stages[0] else {}
        scratch = mongomock.MongoClient().scratch.many
        found = self.collection(c).select(query)
        if found:
            scratch.insert_many(copy.deepcopy(found))
        return self.first(c, list(scratch.aggregate(stages)), c.get("cursor", {}).get("batchSize", 101))

    def do_explain(self, c):
        find = c["explain"]
        indexes = self.collection(dict(find, **{"$db": c["$db"]})).indexes
        best = choose(indexes, find.get("filter", {}), find.get("sort"))
        plan = {"stage": "FETCH", "inputStage": {"stage": "IXSCAN", "indexName": best[1].name}} if best else {"stage": "COLLSCAN"}
        return {"queryPlanner": {"winningPlan": plan}}

    def do_getMore(self, c):
        if c["getMore"] not in self.cursors:
            raise Failure(43, "CursorNotFound", "cursor %s" % c["getMore"])
        cursor_id, namespace, batch = self.cursor(c, self.cursors.pop(c["getMore"]), c.get("batchSize", 1 << 30))
        return {"cursor": {"id": bson.int64.Int64(cursor_id), "ns": namespace, "nextBatch": batch}}

    def do_killCursors(self, c):
        killed = [i for i in c["cursors"] if self.cursors.pop(i, None) is not None]
        return {"cursorsKilled": killed, "cursorsNotFound": [], "cursorsAlive": [], "cursorsUnknown": []}

    # Writing.

    def each(self, c, operations, do):
        """Runs the operations of a bulk, to the first failure if it is ordered."""
        errors = []
        for i, operation in enumerate(operations):
            try:
                do(i, operation)
            except Failure as failure:
                errors.append({"index": i, "code": failure.code, "errmsg": failure.text})
                if c.get("ordered", True):
                    break
        return {"writeErrors": errors} if errors else {}

    def do_insert(self, c):
        collection, stored = self.collection(c), []
        out = self.each(c, c["documents"], lambda i, d: (collection.put(d), stored.append(1)))
        return dict(out, n=len(stored))

    def do_update(self, c):
        collection, matched, modified, upserted = self.collection(c), [], [], []

        def one(i, o):
            found = collection.select(o["q"])
            for old in found if o.get("multi") else found[:1]:
                new = collection.change(old, o["u"])
                if new != old:
                    collection.put(new, old)
                    modified.append(1)
                matched.append(1)
            if not found and o.get("upsert"):
                if any(k.startswith("$") for k in o["u"]):
                    raise Failure(9, "FailedToParse", "upserts by operators are not to be relied on")
                new = collection.change({"_id": o["q"]["_id"]}, o["u"])
                collection.put(new)
                upserted.append({"index": i, "_id": new["_id"]})
        out = self.each(c, c["updates"], one)
        out.update(n=len(matched) + len(upserted), nModified=len(modified))
        return dict(out, upserted=upserted) if upserted else out

    def do_delete(self, c):
        collection, gone = self.collection(c), []

        def one(_, o):
            found = collection.select(o["q"])
            for d in found[:1] if o["limit"] else found:
                collection.forget(d)
                gone.append(1)
        return dict(self.each(c, c["deletes"], one), n=len(gone))

    def do_findAndModify(self, c):
        collection = self.collection(c)
        found = collection.select(c.get("query", {}), c.get("sort"))
        if not found or c.get("upsert") or c.get("remove"):
            if c.get("upsert") or c.get("remove"):
                raise Failure(9, "FailedToParse", "findAndModify updates, and nothing else")
            return {"value": None, "lastErrorObject": {"n": 0, "updatedExisting": False}}
        old = found[0]
        new = collection.change(old, c["update"])
        collection.put(new, old)
        return {"value": new if c.get("new") else old, "lastErrorObject": {"n": 1, "updatedExisting": True}}

    # Collections and indexes.

    def do_createIndexes(self, c):
        collection = self.collection(c)
        for spec in c["indexes"]:
            index = Index(spec["name"], list(spec["key"].items()), bool(spec.get("unique")),
                          spec.get("partialFilterExpression"), spec.get("expireAfterSeconds"))
            same = [i for i in collection.indexes if i.name == index.name or i.keys == index.keys]
            if same and same[0].spec() == index.spec():
                continue
            if same:
                raise Failure(85, "IndexOptionsConflict", "%s: another index has its name or keys" % index.name)
            for mine, d in collection.documents.items():
                if index.unique and index.taken(d):
                    raise duplicate(index, d)
                index.add(d, mine)
            collection.indexes.append(index)
        return {}

    def do_listIndexes(self, c):
        return self.first(c, [i.spec() for i in self.collection(c).indexes], 1000)

    def do_listCollections(self, c):
        names = [n for n in self.databases.get(c["$db"], {}) if filter_applies(c.get("filter", {}), {"name": n})]
        return self.first(dict(c, collection="$cmd.listCollections"), [{"name": n, "type": "collection"} for n in names], 1000)

    def do_drop(self, c):
        self.databases.get(c["$db"], {}).pop(c["drop"], None)
        return {}

    def do_dropDatabase(self, c):
        self.databases.pop(c["$db"], None)
        return {}
