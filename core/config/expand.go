package config

import (
	"fmt"
	"regexp"
	"strings"
)

// reference matches $${ (a literal ${), ${NAME} and ${NAME:default}, and a ${ that is neither.
var reference = regexp.MustCompile(`\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:[^}]*)?\}|\$\{`)

// expand replaces references to environment variables in one scalar. A variable
// that is unset or empty takes the default, as in a shell's ${NAME:-default}.
// Each mistake is a message; what could not be resolved is left out.
func expand(s string, env func(string) (string, bool)) (string, []string) {
	if !strings.Contains(s, "${") {
		return s, nil
	}
	var mistakes []string
	out, end := strings.Builder{}, 0
	for _, m := range reference.FindAllStringSubmatchIndex(s, -1) {
		out.WriteString(s[end:m[0]])
		end = m[1]
		switch {
		case s[m[0]:m[1]] == "$${":
			out.WriteString("${")
		case m[2] < 0:
			mistakes = append(mistakes, `"${" starts no reference: write ${NAME} or ${NAME:default}, or $${ for the characters themselves`)
		default:
			name := s[m[2]:m[3]]
			value, ok := env(name)
			hasDefault := m[4] >= 0
			switch {
			case ok && (value != "" || !hasDefault):
				out.WriteString(value)
			case hasDefault:
				out.WriteString(s[m[4]+1 : m[5]])
			default:
				mistakes = append(mistakes, fmt.Sprintf("environment variable %s is not set: set it, or give a default as ${%s:default}", name, name))
			}
		}
	}
	out.WriteString(s[end:])
	return out.String(), mistakes
}
