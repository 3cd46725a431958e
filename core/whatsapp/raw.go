package whatsapp

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// raw is a protobuf as JSON, or, where it cannot be that (a text that is no UTF-8),
// {"protobuf": base64 of its bytes}. It never fails: what cannot be shown is still kept.
func raw(m protoreflect.ProtoMessage) (out json.RawMessage) {
	if m == nil || !m.ProtoReflect().IsValid() {
		return nil
	}
	defer func() {
		if recover() != nil {
			out = binary(m)
		}
	}()
	b, err := protojson.Marshal(m)
	if err != nil {
		return binary(m)
	}
	// protojson varies its white space on purpose.
	var c bytes.Buffer
	if err := json.Compact(&c, b); err != nil {
		return binary(m)
	}
	return c.Bytes()
}

func binary(m protoreflect.ProtoMessage) (out json.RawMessage) {
	defer func() {
		if recover() != nil {
			out = json.RawMessage(`{"protobuf":null}`)
		}
	}()
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
	if err != nil {
		return json.RawMessage(`{"protobuf":null}`)
	}
	out, err = json.Marshal(map[string][]byte{"protobuf": b})
	if err != nil {
		return json.RawMessage(`{"protobuf":null}`)
	}
	return out
}
