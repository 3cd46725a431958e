package deploy_test

import (
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// dockerfile is where the image is described.
const dockerfile = "deploy/Dockerfile"

// instruction is one of a Dockerfile.
type instruction struct{ name, rest string }

func instructions(files fs.FS) []instruction {
	data, _ := fs.ReadFile(files, dockerfile)
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(data), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	var out []instruction
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out = append(out, instruction{name, strings.Join(strings.Fields(rest), " ")})
		}
	}
	return out
}

// words is an instruction's JSON list.
func (i instruction) words() []string {
	var out []string
	_ = json.Unmarshal([]byte(i.rest), &out)
	return out
}

// imageCommand is what the image runs.
func imageCommand(files fs.FS) []string {
	var out []string
	for _, i := range instructions(files) {
		if i.name == "ENTRYPOINT" || i.name == "CMD" {
			out = append(out, i.words()...)
		}
	}
	return out
}

// imageUser is the number as which the image runs.
func imageUser(files fs.FS) string {
	user := "0"
	for _, i := range instructions(files) {
		switch i.name {
		case "FROM":
			user = "0"
		case "USER":
			user, _, _ = strings.Cut(i.rest, ":")
		}
	}
	return user
}

// checkDockerfile checks the image. needed are the folders, relative to the top, of all
// packages that the program is built from.
func checkDockerfile(files fs.FS, needed []string) problems {
	var p problems
	stages, copied, built := []string{}, []string{}, false
	static, health := false, false
	for _, i := range instructions(files) {
		words := strings.Fields(i.rest)
		switch i.name {
		case "FROM":
			p.need(!strings.HasSuffix(words[0], ":latest") && strings.Contains(words[0], ":"), "FROM %s may change any day", words[0])
			stages = append(stages, words[len(words)-1])
			static = false
		case "COPY":
			if from, ok := strings.CutPrefix(words[0], "--from="); ok {
				p.need(slices.Contains(stages[:len(stages)-1], from), "COPY from %s, which is no stage", from)
				p.need(built, "COPY from %s before anything is built", from)
				continue
			}
			for _, source := range words[:len(words)-1] {
				_, err := fs.Stat(files, path.Clean(source))
				p.need(err == nil, "COPY %s, which does not exist", source)
				p.need(!ignored(files, source), "COPY %s, which is kept out of the build", source)
				copied = append(copied, path.Clean(source))
			}
		case "ENV":
			static = static || i.rest == "CGO_ENABLED=0"
		case "RUN":
			if strings.Contains(i.rest, "go build") {
				built = true
				p.need(static, "the binary may need a C library")
			}
		case "HEALTHCHECK":
			health = true
			m := regexp.MustCompile(`http://127\.0\.0\.1:[^/]+(/[a-z]+)`).FindStringSubmatch(i.rest)
			p.need(m != nil && served(files, m[1]), "HEALTHCHECK asks for what the hub does not have")
		}
	}
	p.need(len(stages) > 1, "the compiler is in the image")
	p.need(health, "there is no HEALTHCHECK")
	p.need(regexp.MustCompile(`^[1-9]\d*$`).MatchString(imageUser(files)), "the image runs as %s", imageUser(files))
	for _, dir := range needed {
		in := slices.ContainsFunc(copied, func(c string) bool { return dir == c || strings.HasPrefix(dir, c+"/") })
		p.need(in && !strings.Contains(dir, "testdata"), "package %s is not copied", dir)
	}
	mod, _ := fs.ReadFile(files, "go.mod")
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))
	p.need(version != nil && stagesOf(files, "golang:"+version[1]+"-"), "FROM another Go than go.mod's")
	return p
}

func stagesOf(files fs.FS, image string) bool {
	return slices.ContainsFunc(instructions(files), func(i instruction) bool {
		return i.name == "FROM" && strings.HasPrefix(i.rest, image)
	})
}

// ignored says whether the build does not see a name at the top.
func ignored(files fs.FS, name string) bool {
	data, _ := fs.ReadFile(files, dockerfile+".dockerignore")
	return !slices.Contains(strings.Split(string(data), "\n"), "!"+name)
}
