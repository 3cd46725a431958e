package deploy_test

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// compose is a compose file that is checked.
type compose struct {
	*problems
	files fs.FS
	name  string
	root  tree
	used  map[string]bool // "volumes/data" and so on
}

// checkCompose checks that what services refer to is there, and that nothing is reached from
// elsewhere that should not be.
func checkCompose(files fs.FS, name string) problems {
	var found problems
	docs := documents(files, name, &found)
	if len(docs) != 1 {
		found.add("%s: one document is expected", name)
		return found
	}
	c := &compose{problems: &found, files: files, name: name, root: docs[0], used: map[string]bool{}}
	for _, s := range c.root.at("services").texts() {
		c.service(s, c.root.at("services", s))
	}
	for _, kind := range []string{"volumes", "networks", "configs", "secrets"} {
		for _, one := range c.root.at(kind).texts() {
			c.need(c.used[kind+"/"+one], "%s: %s %s is used by no service", name, kind, one)
		}
	}
	for _, one := range c.root.at("configs").texts() {
		file := path.Join(path.Dir(name), c.root.at("configs", one, "file").text())
		_, err := fs.Stat(files, file)
		c.need(err == nil, "%s: config %s: there is no file %s", name, one, file)
	}
	c.variables()
	return found
}

// refer notes that a service uses something that the file declares.
func (c *compose) refer(service, kind, one string) {
	c.used[kind+"/"+one] = true
	c.need(c.root.at(kind).has(one), "%s: %s: there is no %s under %s", c.name, service, one, kind)
}

func (c *compose) service(name string, s tree) {
	c.need(s.has("image") || s.has("build"), "%s: %s has no image", c.name, name)
	if s.has("build") {
		file := path.Join(path.Dir(c.name), s.at("build", "context").text(), s.at("build", "dockerfile").text())
		_, err := fs.Stat(c.files, file)
		c.need(err == nil, "%s: %s: there is no %s to build from", c.name, name, file)
	}
	for _, v := range s.at("volumes").texts() {
		from, _, _ := strings.Cut(v, ":")
		c.refer(name, "volumes", from)
	}
	for _, n := range s.at("networks").texts() {
		c.refer(name, "networks", n)
	}
	for _, one := range s.at("configs").list() {
		c.refer(name, "configs", one.at("source").text())
	}
	for _, one := range s.at("secrets").texts() {
		c.refer(name, "secrets", one)
	}
	others := s.at("depends_on").texts()
	if with, ok := strings.CutPrefix(s.at("network_mode").text(), "service:"); ok {
		others = append(others, with)
	}
	for _, other := range others {
		c.need(c.root.at("services").has(other), "%s: %s needs %s, which is no service", c.name, name, other)
		if s.at("depends_on", other, "condition").text() == "service_healthy" {
			c.need(c.root.at("services", other).has("healthcheck"), "%s: %s waits for the health of %s, which tells none", c.name, name, other)
		}
	}
	for _, port := range s.at("ports").texts() {
		c.need(strings.HasPrefix(port, "127.0.0.1:"), "%s: %s publishes %s to other machines", c.name, name, port)
	}
	if strings.HasPrefix(s.at("image").text(), "wildcat:") {
		c.hub(name, s)
	}
	for _, one := range s.at("configs").list() {
		if one.at("source").text() == "proxy" {
			c.proxy(name)
		}
	}
}

// reaches says whether two services have a network in common.
func (c *compose) reaches(a, b string) bool {
	of := func(s string) []string { return c.root.at("services", s, "networks").texts() }
	return slices.ContainsFunc(of(a), func(n string) bool { return slices.Contains(of(b), n) })
}

// hub checks what is to hold of each hub.
func (c *compose) hub(name string, s tree) {
	c.need(s.at("read_only").text() == "true", "%s: %s may write its root", c.name, name)
	c.need(slices.Contains(s.at("cap_drop").texts(), "ALL"), "%s: %s keeps capabilities", c.name, name)
	c.need(slices.Contains(s.at("tmpfs").texts(), "/tmp"), "%s: %s has no /tmp", c.name, name)
	c.need(slices.ContainsFunc(s.at("volumes").texts(), func(v string) bool { return strings.HasSuffix(v, ":/data") }), "%s: %s keeps no /data", c.name, name)
	source, target := s.at("configs", 0, "source").text(), s.at("configs", 0, "target").text()
	c.need(slices.Contains(imageCommand(c.files), target), "%s: %s: the image reads another file than %s", c.name, name, target)

	env := s.at("environment").fields()
	file := path.Join(path.Dir(c.name), c.root.at("configs", source, "file").text())
	text, err := fs.ReadFile(c.files, file)
	if err != nil {
		return // said already
	}
	cfg := checkConfig(c.files, c.name+": "+name+": "+path.Base(file), text, env, c.problems)
	if cfg == nil {
		return
	}
	for _, port := range s.at("ports").texts() {
		c.need(strings.HasSuffix(port, ":"+itoa(cfg.Server.Port)), "%s: %s publishes %s, and the hub listens on %d", c.name, name, port, cfg.Server.Port)
	}
	if at := cfg.Cluster.Advertise; at != "" {
		c.need(at == "http://"+name+":"+itoa(cfg.Server.Port), "%s: %s tells others to reach it at %s", c.name, name, at)
	}
	for _, host := range mongoHosts(env["MONGO_URL"]) {
		c.need(c.reaches(name, host), "%s: %s has no network in common with %s", c.name, name, host)
	}
}

var proxied = regexp.MustCompile(`(?m)^\s*server (\S+) ([^:\s]+):(\d+)`)

// proxy checks that it passes requests on to all hubs and to nothing else.
func (c *compose) proxy(name string) {
	text, err := fs.ReadFile(c.files, path.Join(path.Dir(c.name), c.root.at("configs", "proxy", "file").text()))
	if err != nil {
		return // said already
	}
	var to []string
	for _, m := range proxied.FindAllStringSubmatch(string(text), -1) {
		to = append(to, m[2])
		c.need(c.reaches(name, m[2]), "%s: %s has no network in common with %s", c.name, name, m[2])
		c.need(m[3] == "3000", "%s: %s asks %s at port %s", c.name, name, m[2], m[3])
	}
	for _, s := range c.root.at("services").texts() {
		if strings.HasPrefix(c.root.at("services", s, "image").text(), "wildcat:") {
			c.need(slices.Contains(to, s), "%s: %s passes nothing on to %s", c.name, name, s)
		}
	}
	bind := regexp.MustCompile(`(?m)^\s*bind :(\d+)`).FindStringSubmatch(string(text))
	for _, port := range c.root.at("services", name, "ports").texts() {
		c.need(bind != nil && strings.HasSuffix(port, ":"+bind[1]), "%s: %s publishes %s, where it does not listen", c.name, name, port)
	}
	for _, m := range regexp.MustCompile(`httpchk GET (\S+)`).FindAllStringSubmatch(string(text), -1) {
		c.need(served(c.files, m[1]), "%s: the hub has no %s", c.name, m[1])
	}
}

// variables checks that what has to be set is in the example of .env, and that nothing else is.
func (c *compose) variables() {
	text, _ := fs.ReadFile(c.files, c.name)
	example, _ := fs.ReadFile(c.files, strings.TrimSuffix(c.name, ".yaml")+".env.example")
	var needed []string
	for _, m := range regexp.MustCompile(`\$\{(\w+):\?|environment: ([A-Z_]+)\n`).FindAllStringSubmatch(string(text), -1) {
		needed = append(needed, m[1]+m[2])
	}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)=(.*)$`).FindAllStringSubmatch(string(example), -1) {
		c.need(slices.Contains(needed, m[1]), "%s: %s of the example is not used", c.name, m[1])
		c.need(m[2] == "", "%s: the example gives %s a value, which people would keep", c.name, m[1])
	}
	for _, name := range needed {
		c.need(strings.Contains(string(example), "\n"+name+"=\n"), "%s: %s is not in the example", c.name, name)
	}
}
