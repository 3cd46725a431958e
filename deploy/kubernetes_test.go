package deploy_test

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// manifests is a folder of manifests that is checked.
type manifests struct {
	*problems
	files fs.FS
	dir   string
	kust  tree
	all   map[string]tree // by kind/name
}

// checkKubernetes checks that what the objects of a folder refer to is there.
func checkKubernetes(files fs.FS, dir string) problems {
	var found problems
	m := &manifests{problems: &found, files: files, dir: dir, all: map[string]tree{}}
	if docs := documents(files, dir+"/kustomization.yaml", &found); len(docs) > 0 {
		m.kust = docs[0]
	}
	there, _ := fs.Glob(files, dir+"/*.yaml")
	for _, file := range there {
		name := path.Base(file)
		if name != "kustomization.yaml" {
			m.need(slices.Contains(m.kust.at("resources").texts(), name), "%s: %s is not applied", dir, name)
		}
	}
	for _, name := range m.kust.at("resources").texts() {
		for _, doc := range documents(files, dir+"/"+name, &found) {
			key := doc.at("kind").text() + "/" + doc.at("metadata", "name").text()
			m.need(doc.at("apiVersion").is() && !strings.HasSuffix(key, "/"), "%s: %s: an object without a kind, a version or a name", dir, name)
			m.need(!m.all[key].is(), "%s: %s is there twice", dir, key)
			m.all[key] = doc
		}
	}
	for key, doc := range m.all {
		switch kind, _, _ := strings.Cut(key, "/"); kind {
		case "Deployment", "StatefulSet":
			m.workload(key, doc)
		case "Service":
			m.service(key, doc)
		case "NetworkPolicy":
			m.policy(key, doc)
		case "PodDisruptionBudget":
			if pods := m.selected(key, doc.at("spec", "selector", "matchLabels")); pods.is() {
				n, _ := pods.at("spec", "replicas").v.(int)
				gone, _ := doc.at("spec", "maxUnavailable").v.(int)
				m.need(gone > 0 && gone < n, "%s: %s lets %d of %d go", dir, key, gone, n)
			}
		}
	}
	m.unused()
	slices.Sort(found)
	return found
}

// matches says whether labels are what a selector asks for.
func matches(selector, labels tree) bool {
	for k, v := range selector.fields() {
		if labels.fields()[k] != v {
			return false
		}
	}
	return len(selector.texts()) > 0
}

// selected is the workload whose pods a selector selects.
func (m *manifests) selected(key string, selector tree) tree {
	for other, doc := range m.all {
		if kind, _, _ := strings.Cut(other, "/"); kind == "Deployment" || kind == "StatefulSet" {
			if matches(selector, doc.at("spec", "template", "metadata", "labels")) {
				return doc
			}
		}
	}
	m.add("%s: %s selects no pods", m.dir, key)
	return tree{}
}

// port says whether a workload's containers have a port, by name or number.
func port(workload tree, name string) bool {
	for _, c := range workload.at("spec", "template", "spec", "containers").list() {
		for _, p := range c.at("ports").list() {
			if name != "" && (p.at("name").text() == name || p.at("containerPort").text() == name) {
				return true
			}
		}
	}
	return false
}

func (m *manifests) service(key string, doc tree) {
	pods := m.selected(key, doc.at("spec", "selector"))
	for _, p := range doc.at("spec", "ports").list() {
		to := p.at("targetPort").text()
		m.need(!pods.is() || port(pods, to), "%s: %s passes on to port %q, which no container has", m.dir, key, to)
	}
	m.need(doc.at("spec", "type").text() == "ClusterIP" || doc.at("spec", "clusterIP").text() == "None", "%s: %s is reached from outside of the cluster", m.dir, key)
}

func (m *manifests) policy(key string, doc tree) {
	pods := m.selected(key, doc.at("spec", "podSelector", "matchLabels"))
	m.need(slices.Contains(doc.at("spec", "policyTypes").texts(), "Ingress"), "%s: %s lets everybody in", m.dir, key)
	for _, rule := range doc.at("spec", "ingress").list() {
		m.need(len(rule.at("from").list()) > 0, "%s: %s lets everybody in", m.dir, key)
		for _, p := range rule.at("ports").list() {
			m.need(!pods.is() || port(pods, p.at("port").text()), "%s: %s lets in at %q, which no container has", m.dir, key, p.at("port").text())
		}
	}
	allowed := func(port string) bool {
		return slices.ContainsFunc(doc.at("spec", "egress").list(), func(rule tree) bool {
			return slices.ContainsFunc(rule.at("ports").list(), func(p tree) bool { return p.at("port").text() == port })
		})
	}
	m.need(allowed("53") && allowed("443"), "%s: %s keeps the hub from WhatsApp", m.dir, key)
	if pods.at("kind").text() != "StatefulSet" {
		return
	}
	m.need(allowed("27017"), "%s: %s keeps the hub from its database", m.dir, key)
	from := slices.ContainsFunc(doc.at("spec", "ingress").list(), func(rule tree) bool {
		return slices.ContainsFunc(rule.at("from").list(), func(f tree) bool {
			return matches(f.at("podSelector", "matchLabels"), pods.at("spec", "template", "metadata", "labels"))
		})
	})
	m.need(from && allowed("http"), "%s: %s keeps hubs from one another", m.dir, key)
}

// unused complains of what no pod asks for.
func (m *manifests) unused() {
	var asked []string
	for _, doc := range m.all {
		pod := doc.at("spec", "template", "spec")
		for _, v := range pod.at("volumes").list() {
			asked = append(asked, "ConfigMap/"+v.at("configMap", "name").text(), "Secret/"+v.at("secret", "secretName").text(),
				"PersistentVolumeClaim/"+v.at("persistentVolumeClaim", "claimName").text())
		}
		for _, c := range pod.at("containers").list() {
			for _, e := range c.at("env").list() {
				asked = append(asked, "Secret/"+e.at("valueFrom", "secretKeyRef", "name").text())
			}
		}
	}
	for key := range m.all {
		kind, _, _ := strings.Cut(key, "/")
		if slices.Contains([]string{"ConfigMap", "Secret", "PersistentVolumeClaim"}, kind) {
			m.need(slices.Contains(asked, key), "%s: %s is used by no pod", m.dir, key)
		}
	}
}
