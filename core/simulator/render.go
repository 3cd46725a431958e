package simulator

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// textShown and bytesShown bound what a trace shows of one value.
const (
	textShown  = 80
	bytesShown = 12
)

// renderedLimit bounds what a trace shows of one stanza, in bytes, and indentLimit how far a
// line is indented: the lines of what is nested deeply would be long otherwise.
const (
	renderedLimit = 16 << 10
	indentLimit   = 64
)

// secretTags are those whose content is shown as a length only: ciphertexts, and what
// pairs a device.
var secretTags = [...]string{"enc", "ref", "device-identity", "link_code_pairing_wrapped_companion_ephemeral_pub"}

// renderNode is a stanza as XML-like text, one line for each element, children indented.
func renderNode(n *waBinary.Node) string {
	var b strings.Builder
	writeNode(&b, n, 0)
	if b.Len() > renderedLimit {
		return strings.ToValidUTF8(b.String()[:renderedLimit], "") + "\n… <!-- cut: the stanza is longer -->"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func writeNode(b *strings.Builder, n *waBinary.Node, depth int) {
	if b.Len() > renderedLimit {
		return // the rest is cut anyway
	}
	indent := strings.Repeat("  ", min(depth, indentLimit))
	b.WriteString(indent + "<" + n.Tag)
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		fmt.Fprintf(b, ` %s="%s"`, name, escaper().Replace(shorten(fmt.Sprint(n.Attrs[name]))))
	}
	switch content := n.Content.(type) {
	case []waBinary.Node:
		b.WriteString(">\n")
		for i := range content {
			writeNode(b, &content[i], depth+1)
		}
		if b.Len() <= renderedLimit {
			b.WriteString(indent + "</" + n.Tag + ">\n")
		}
	case []byte:
		b.WriteString(">" + renderBytes(n.Tag, content) + "</" + n.Tag + ">\n")
	case nil:
		b.WriteString("/>\n")
	default:
		b.WriteString(">" + escaper().Replace(shorten(fmt.Sprint(content))) + "</" + n.Tag + ">\n")
	}
}

func renderBytes(tag string, content []byte) string {
	if slices.Contains(secretTags[:], tag) {
		return fmt.Sprintf("<!-- %d bytes -->", len(content))
	}
	printable := utf8.Valid(content) && strings.IndexFunc(string(content), func(r rune) bool {
		return !unicode.IsPrint(r)
	}) < 0
	if printable {
		return escaper().Replace(shorten(string(content)))
	}
	if len(content) <= 2*bytesShown {
		return hex.EncodeToString(content)
	}
	return fmt.Sprintf("%s… <!-- %d bytes -->", hex.EncodeToString(content[:bytesShown]), len(content))
}

func shorten(s string) string {
	if len(s) <= textShown {
		return s
	}
	cut := textShown
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
}

func escaper() *strings.Replacer {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")
}
