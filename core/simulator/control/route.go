package control

import (
	"net/http"
	"reflect"
)

// route is one row of the table: what the multiplexer and the document are made from.
type route struct {
	method, path string
	// tag groups routes in the document, summary is its line there.
	tag, summary string
	// status is that of a success.
	status int
	query  []queryParam
	// body and answer are the types of the JSON; body is nil where none is read.
	body, answer reflect.Type
	handle       func(*api, *http.Request) (any, error)

	// raw, where set, is in place of handle: it writes an answer of its own, of the media
	// type gives. An error that it returns is answered like any other, unless it has begun to
	// write; then it must not return one. takes is the media type of a body that is no JSON.
	raw          func(*api, http.ResponseWriter, *http.Request) error
	takes, gives string
}

// queryParam is a part of the URL's query. Its kind is a JSON type, or "duration".
type queryParam struct {
	name, kind, doc string
}

// none is the answer of what has nothing to tell.
type none struct{}

func get[Out any](path, summary string, handle func(*api, *http.Request) (Out, error), query ...queryParam) route {
	return route{
		method: http.MethodGet, path: path, summary: summary, status: http.StatusOK, query: query,
		answer: reflect.TypeFor[Out](),
		handle: func(a *api, r *http.Request) (any, error) { return handle(a, r) },
	}
}

// act is a POST without a body.
func act[Out any](path, summary string, handle func(*api, *http.Request) (Out, error)) route {
	r := get(path, summary, handle)
	r.method = http.MethodPost
	return r
}

// remove is a DELETE.
func remove[Out any](path, summary string, handle func(*api, *http.Request) (Out, error)) route {
	r := get(path, summary, handle)
	r.method = http.MethodDelete
	return r
}

// post reads a body of type In, strictly, before it calls handle.
func post[In, Out any](path, summary string, handle func(*api, *http.Request, In) (Out, error)) route {
	r := act(path, summary, func(a *api, r *http.Request) (Out, error) {
		var in In
		if err := readJSON(r, &in); err != nil {
			var zero Out
			return zero, err
		}
		return handle(a, r, in)
	})
	r.body = reflect.TypeFor[In]()
	return r
}

// upload is a POST whose body is a file.
func upload[Out any](path, summary string, handle func(*api, *http.Request) (Out, error), query ...queryParam) route {
	r := act(path, summary, handle)
	r.takes, r.query = "application/octet-stream", query
	return r
}

// fetch is a GET whose answer is no JSON, but of the media type gives.
func fetch(path, gives, summary string, raw func(*api, http.ResponseWriter, *http.Request) error, query ...queryParam) route {
	return route{
		method: http.MethodGet, path: path, summary: summary, status: http.StatusOK, query: query, gives: gives, raw: raw,
	}
}

// created makes the success of a route 201.
func created(r route) route {
	r.status = http.StatusCreated
	return r
}

// tagged puts routes into a group of the document.
func tagged(tag string, list ...route) []route {
	for i := range list {
		list[i].tag = tag
	}
	return list
}
