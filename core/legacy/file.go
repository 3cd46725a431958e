package legacy

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/wildcathub/wildcat/core/store"
)

// File is a file of the bucket media.
type File struct {
	// Info has the file's id in hex as ID, so that old addresses go on to serve. Size is
	// what the file's document says.
	Info store.BlobInfo

	id any // as GridFS has it
}

// file converts a file's document. names has the accounts' ids by their old ones.
func file(doc fields, names map[string]string) (File, *Skipped) {
	id := doc.text("_id")
	if id == "" {
		return File{}, &Skipped{ID: "?", Reason: "it has no id"}
	}
	meta := doc.sub("metadata")
	account, known := names[meta.text("accountId")]
	if !known {
		return File{}, &Skipped{ID: id, Reason: reasonNoAccount}
	}
	size, _ := integer(doc.get("length"))
	f := File{id: doc.get("_id"), Info: store.BlobInfo{
		ID: id, Account: account, Name: doc.text("filename"), Size: size, Meta: map[string]string{},
		MIME: meta.text("mimetype", "contentType"), CreatedAt: doc.when("uploadDate"),
	}}
	if f.Info.MIME == "" {
		f.Info.MIME = doc.text("contentType")
	}
	if f.Info.MIME == "" {
		f.Info.MIME = "application/octet-stream"
	}
	if f.Info.CreatedAt.IsZero() {
		f.Info.CreatedAt = doc.idTime()
	}
	for _, e := range meta {
		if v := metaText(e.Value); v != "" {
			f.Info.Meta[e.Key] = v
		}
	}
	f.Info.Meta["accountId"] = account
	return f, nil
}

// metaText is a value of a file's metadata, all of which are texts in the hub.
func metaText(v any) string {
	if b, ok := v.(bool); ok {
		if b {
			return "true"
		}
		return "false"
	}
	if t, ok := v.(bson.DateTime); ok {
		return t.Time().UTC().Format("2006-01-02T15:04:05.000Z07:00")
	}
	if s := textOf(v); s != "" {
		return s
	}
	if d, ok := v.(bson.D); ok {
		if n, ok := longInteger(fields(d)); ok {
			return textOf(n)
		}
	}
	return ""
}
