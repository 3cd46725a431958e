package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 4 << 20

// Options are what Load takes from its surroundings.
type Options struct {
	// Env looks up an environment variable; nil is the process's environment.
	Env func(string) (string, bool)
	// Override, if set, changes the configuration after file and environment and
	// before validation: the command line's flags.
	Override func(*Config)
}

// Load reads a configuration file, applies the environment, fills in defaults and
// validates. path "" is DefaultPath in the working directory, which need not exist;
// a path that is given must. All mistakes are returned together, as Problems; the
// configuration comes with them then, as far as it could be read, so that what it
// names can be checked too. With any other error it is nil.
func Load(path string, opts Options) (*Config, error) {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	explicit := path != ""
	if !explicit {
		path = DefaultPath
	}
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) && !explicit {
		path, data, err = "", nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, data, opts)
}

// readFile reads at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return data, nil
}

// parse is Load after the file was read; path "" means that there is none.
func parse(path string, data []byte, opts Options) (*Config, error) {
	cfg := Default()
	cfg.Path = path
	cfg.places, cfg.keys, cfg.origins = map[string]place{}, map[string]place{}, map[string]string{}
	file := path
	if file == "" {
		file = DefaultPath
	}
	d := &decoder{file: file, env: opts.Env, places: cfg.places, keys: cfg.keys, raw: map[*yaml.Node]string{}}
	d.document(data, cfg)
	d.environment(cfg)
	if opts.Override != nil {
		opts.Override(cfg)
	}
	cfg.fill()
	v := newValidator(cfg, d.problems)
	v.all()
	if d.full() || d.nodes >= maxNodes {
		// Not everything was read: what is known of an entry may lack the half that matters.
		cfg.Rules.Files, cfg.Connectors = nil, nil
	}
	if len(v.problems) > 0 {
		return cfg, v.problems.Sorted()
	}
	return cfg, nil
}

// document decodes the one document of the file.
func (d *decoder) document(data []byte, cfg *Config) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return // empty: the defaults
	}
	if err != nil {
		d.problems = append(d.problems, syntaxProblem(d.file, err))
		return
	}
	if len(doc.Content) == 1 {
		d.decode(doc.Content[0], reflect.ValueOf(cfg).Elem(), "", 0)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		d.problem(&second, "a second document: the file must hold one")
	case !errors.Is(err, io.EOF):
		d.problems = append(d.problems, syntaxProblem(d.file, err))
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// yamlParser matches the errors of yaml.v3's parser, whose lines count from 0;
// those of its scanner count from 1.
var yamlParser = regexp.MustCompile(`^did not find expected (key|',' or|<|'-'|node)`)

// syntaxProblem turns yaml.v3's "yaml: line 3: …" into a Problem; it names no column.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Line: 1, Column: 1}
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil {
		p.Message = err.Error()
		return p
	}
	text := strings.TrimPrefix(err.Error(), m[0])
	if line, errLine := strconv.Atoi(m[1]); errLine == nil {
		p.Line = line
		if yamlParser.MatchString(text) {
			p.Line++
		}
	}
	p.Message = "not YAML: " + text
	if strings.Contains(text, "cannot start any token") {
		p.Message += ": indent with spaces, not tabs, and put quotes around a text that begins with @, % or `"
	}
	return p
}

// fill gives each list entry the defaults of its own.
func (c *Config) fill() {
	yes := true
	for i := range c.Rules.Files {
		r := &c.Rules.Files[i]
		if r.Name == "" && r.File != "" {
			r.Name = strings.TrimSuffix(filepath.Base(r.File), ".lua")
		}
		if _, given := c.places[fmt.Sprintf("rules.files[%d].timeout", i)]; !given && r.Timeout == 0 {
			r.Timeout = defaultRuleTimeout
		}
		if r.Enabled == nil {
			r.Enabled = &yes
		}
	}
	for i := range c.Connectors {
		k := &c.Connectors[i]
		if len(k.Events) == 0 {
			k.Events = []string{"message"}
		}
		if k.Ordering == "" {
			k.Ordering = OrderingBounded
		}
		if k.Retry == nil && !c.Given(fmt.Sprintf("connectors[%d].retry", i)) {
			k.Retry = c.Deliver.Retry
		}
		if k.Enabled == nil {
			k.Enabled = &yes
		}
	}
}

// Position returns where the value of a key stands in the file, counted from 1, by
// its path: "server.port", "rules.files[0].file", "connectors[1].with.url". For a key
// that is not in the file it is the nearest thing around it that is; 0, 0 if there is none.
func (c *Config) Position(path string) (line, col int) {
	for path != "" {
		if p, ok := c.places[path]; ok {
			return p.line, p.column
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0, 0
}

// Given says whether a key has a value in the file.
func (c *Config) Given(path string) bool {
	_, ok := c.places[path]
	return ok
}

// Problem returns a mistake at a key, for checks that are made elsewhere: whether a
// rule compiles, whether a connector accepts its configuration.
func (c *Config) Problem(path, format string, args ...any) Problem {
	p := Problem{File: c.Path, Key: path, Message: fmt.Sprintf(format, args...)}
	if p.File == "" {
		p.File = DefaultPath
	}
	if name, ok := c.origins[path]; ok {
		p.File, p.Message = environmentFile, name+": "+p.Message
		return p
	}
	if p.Line, p.Column = c.Position(path); p.Line == 0 {
		p.Message = path + ": " + p.Message
	}
	return p
}

// ProblemAtKey is Problem for a key that should not be there: its place is the key's
// own instead of its value's.
func (c *Config) ProblemAtKey(path, format string, args ...any) Problem {
	p := c.Problem(path, format, args...)
	if at, ok := c.keys[path]; ok {
		p.Line, p.Column = at.line, at.column
	}
	return p
}

// Resolve makes a path of the file relative to the file's folder.
func (c *Config) Resolve(path string) string {
	if filepath.IsAbs(path) || c.Path == "" {
		return path
	}
	return filepath.Join(filepath.Dir(c.Path), path)
}

// Program says that Use names a program and no built-in connector.
func (c ConnectorConfig) Program() bool { return strings.ContainsAny(c.Use, `/\.`) }

// Changed names the sections of the file (the keys at its top) in which another
// configuration differs, in the order of the file's documentation.
func (c *Config) Changed(other *Config) []string {
	var names []string
	a, b := reflect.ValueOf(c).Elem(), reflect.ValueOf(other).Elem()
	for i := range a.NumField() {
		name := tag(a.Type().Field(i))
		if name != "" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			names = append(names, name)
		}
	}
	return names
}
