package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

type object = map[string]any

// Document is the OpenAPI 3 document of the control API, as JSON, made from the same table
// as the multiplexer. It is what GET /sandbox/openapi.json answers.
func Document() []byte {
	s := schemas{object{}, map[string]reflect.Type{}}
	paths := object{}
	for _, r := range routes() {
		item, ok := paths[r.path].(object)
		if !ok {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = s.operation(r)
	}
	s.of(reflect.TypeFor[errorAnswer]())
	doc := object{
		"openapi": "3.0.3",
		"info": object{
			"title": "Wildcat sandbox", "version": "1",
			"description": "Phones of a simulated WhatsApp, played over HTTP. A {number} is digits, with or without a plus; " +
				"a {jid} names a linked device, 15550001:1@s.whatsapp.net. Every answer that is no success is an ErrorAnswer.",
		},
		"paths":      paths,
		"components": object{"schemas": s.components},
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		panic(fmt.Sprintf("encode the document: %v", err)) // maps of strings: a programmer's mistake
	}
	return out.Bytes()
}

func (a *api) openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(Document())
	return err
}

var pathParam = regexp.MustCompile(`\{([a-z]+)\}`)

func (s schemas) operation(r route) object {
	params := []any{}
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, q := range r.query {
		schema := object{"type": q.kind}
		if q.kind == "duration" {
			schema = object{"type": "string", "example": "10s"}
		}
		params = append(params, object{"name": q.name, "in": "query", "description": q.doc, "schema": schema})
	}
	op := object{
		"operationId": operationID(r), "summary": r.summary, "tags": []string{r.tag}, "parameters": params,
		"responses": object{
			strconv.Itoa(r.status): object{"description": "done", "content": s.content(r)},
			"default":              object{"description": "refused", "content": jsonContent(s.of(reflect.TypeFor[errorAnswer]()))},
		},
	}
	switch {
	case r.takes != "":
		op["requestBody"] = object{"required": true, "content": object{r.takes: object{"schema": object{"type": "string", "format": "binary"}}}}
	case r.body != nil:
		op["requestBody"] = object{"required": true, "content": jsonContent(s.of(r.body))}
	}
	return op
}

func (s schemas) content(r route) object {
	if r.gives != "" {
		return object{r.gives: object{"schema": object{"type": "string", "format": "binary"}}}
	}
	return jsonContent(s.of(r.answer))
}

func jsonContent(schema object) object {
	return object{"application/json": object{"schema": schema}}
}

// operationID is the method and the words of the path: post_phones_number_send.
func operationID(r route) string {
	words := strings.FieldsFunc(strings.TrimPrefix(r.path, "/sandbox/"), func(c rune) bool { return strings.ContainsRune("/{}.-", c) })
	return strings.ToLower(r.method) + "_" + strings.Join(words, "_")
}
