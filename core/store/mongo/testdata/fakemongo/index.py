"""Sorted indexes and the planner of the fake server."""
import bisect
import datetime

import bson
from mongomock.filtering import filter_applies


def order(value):
    """A value as what sorts as BSON does: null, numbers, texts, objects, bytes, ids, booleans, dates."""
    if value is None:
        return (1,)
    if isinstance(value, bool):
        return (8, value)
    if isinstance(value, (int, float)):
        return (2, value)
    if isinstance(value, str):
        return (3, value.encode())
    if isinstance(value, dict):
        return (4, tuple((k.encode(), order(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return (5, tuple(order(v) for v in value))
    if isinstance(value, bytes):
        return (6, len(value), bytes(value))
    if isinstance(value, bson.ObjectId):
        return (7, value.binary)
    if isinstance(value, datetime.datetime):
        return (9, value)
    raise TypeError("cannot order %r" % (value,))


def field(document, path):
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


class Index:
    def __init__(self, name, keys, unique=False, partial=None, ttl=None):
        self.name, self.keys, self.unique, self.partial, self.ttl = name, keys, unique, partial, ttl
        self.entries = []  # (key, id), sorted

    def spec(self):
        out = {"v": 2, "name": self.name, "key": dict(self.keys)}
        for option, value in (("unique", self.unique), ("partialFilterExpression", self.partial)):
            if value:
                out[option] = value
        if self.ttl is not None:
            out["expireAfterSeconds"] = self.ttl
        return out

    def of(self, document):
        """The document's keys: one, or one for each element of an array."""
        if self.partial is not None and not filter_applies(self.partial, document):
            return set()
        keys = [()]
        for path, _ in self.keys:
            value = field(document, path)
            values = value if isinstance(value, list) and value else [value]
            keys = [k + (order(v),) for k in keys for v in values]
        return set(keys)

    def add(self, document, mine):
        for key in self.of(document):
            bisect.insort(self.entries, (key, mine))

    def remove(self, document, mine):
        for key in self.of(document):
            at = bisect.bisect_left(self.entries, (key, mine))
            assert self.entries[at] == (key, mine)
            del self.entries[at]

    def taken(self, document, mine=None):
        for key in self.of(document):
            at = bisect.bisect_left(self.entries, (key,))
            while at < len(self.entries) and self.entries[at][0] == key:
                if self.entries[at][1] != mine:
                    return True
                at += 1
        return False

    def scan(self, prefix, low, high):
        """The entries whose keys begin with prefix, the next part of which is within bounds."""
        at = bisect.bisect_left(self.entries, (prefix + (low or ()),))
        n = len(prefix)
        while at < len(self.entries):
            key = self.entries[at][0]
            if key[:n] != prefix or high and key[n:n + 1] > high:
                return
            yield self.entries[at]
            at += 1


OPERATORS = {"$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$ne", "$exists"}


def conditions(query):
    """What a query asks of each field; a text for what is equal."""
    out = {}
    for name, wanted in query.items():
        if name == "$and":
            for part in wanted:
                for k, v in conditions(part).items():
                    out.setdefault(k, {}).update(v)
        elif name.startswith("$"):
            raise ValueError("operator %s" % name)
        elif isinstance(wanted, dict) and any(k.startswith("$") for k in wanted):
            if set(wanted) - OPERATORS:
                raise ValueError("operators %r" % wanted)
            out.setdefault(name, {}).update(wanted)
        else:
            out.setdefault(name, {})["$eq"] = wanted
    return out


def implied(partial, asked):
    """Whether a query can only match documents that are in a partial index."""
    for name, wanted in (partial or {}).items():
        have = asked.get(name, {})
        if wanted == {"$exists": True}:
            if have.get("$eq") is None and not have.get("$exists") and not {"$gt", "$gte"} & set(have):
                return False
        elif have.get("$eq") != wanted:
            return False
    return True


def choose(indexes, query, sort):
    """The best index and what of it to read; None if none serves query and sort."""
    asked = conditions(query)
    sort = list((sort or {}).items())
    best = None
    for index in indexes:
        if not implied(index.partial, asked):
            continue
        prefixes, points, at = [()], 0, 0
        for path, _ in index.keys:
            have = asked.get(path, {})
            if "$eq" in have:
                prefixes = [p + (order(have["$eq"]),) for p in prefixes]
            elif "$in" in have:
                prefixes = sorted({p + (order(v),) for p in prefixes for v in have["$in"]})
            else:
                break
            points, at = points + 2, at + 1
        have = asked.get(index.keys[at][0], {}) if at < len(index.keys) else {}
        low = next(((order(have[o]),) for o in ("$gt", "$gte") if o in have), None)
        high = next(((order(have[o]),) for o in ("$lt", "$lte") if o in have), None)
        points += 1 if low or high else 0
        rest = [k for k, _ in index.keys[at:]]
        fixed = {k for k, v in asked.items() if "$eq" in v}
        by = [(k, d) for k, d in sort if k not in fixed]
        sorts = rest[:len(by)] == [k for k, _ in by] and len({d for _, d in by}) <= 1
        if not sorts or not (points or sort and not query):
            continue
        if best is None or points > best[0]:
            best = (points, index, prefixes, low, high, at, by)
    return best


def plan(indexes, query, sort):
    """The ids in the order of the best index; None if there is none."""
    best = choose(indexes, query, sort)
    if best is None:
        return None
    _, index, prefixes, low, high, at, by = best
    entries = [e for p in prefixes for e in index.scan(p, low, high)]
    if len(prefixes) > 1:  # several ranges of the index, merged
        entries.sort(key=lambda e: e[0][at:])
    if by and by[0][1] < 0:
        entries.reverse()
    return list(dict.fromkeys(i for _, i in entries))
