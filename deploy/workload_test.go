package deploy_test

import (
	"io/fs"
	"slices"
	"strings"
)

// workload checks a Deployment or a StatefulSet.
func (m *manifests) workload(key string, doc tree) {
	template := doc.at("spec", "template")
	m.need(matches(doc.at("spec", "selector", "matchLabels"), template.at("metadata", "labels")), "%s: %s selects other pods than it makes", m.dir, key)
	pod := template.at("spec")
	volumes := map[string]tree{}
	for _, v := range pod.at("volumes").list() {
		volumes[v.at("name").text()] = v
		m.exists(key, "ConfigMap", v.at("configMap", "name"))
		m.exists(key, "Secret", v.at("secret", "secretName"))
		m.exists(key, "PersistentVolumeClaim", v.at("persistentVolumeClaim", "claimName"))
	}
	m.need(pod.at("securityContext", "runAsNonRoot").text() == "true", "%s: %s may run as root", m.dir, key)
	m.need(pod.at("securityContext", "runAsUser").text() == imageUser(m.files), "%s: %s runs as another user than the image", m.dir, key)
	m.need(pod.at("automountServiceAccountToken").text() == "false", "%s: %s gets a token that it does not need", m.dir, key)
	stop, _ := pod.at("terminationGracePeriodSeconds").v.(int)
	m.need(stop > 10, "%s: %s is killed before it has stopped", m.dir, key)
	mounted := map[string]bool{}
	for _, c := range pod.at("containers").list() {
		for _, v := range c.at("volumeMounts").list() {
			name := v.at("name").text()
			mounted[name] = true
			m.need(volumes[name].is(), "%s: %s mounts %s, which is no volume", m.dir, key, name)
		}
		m.container(key, doc, c, volumes)
	}
	for name := range volumes {
		m.need(mounted[name], "%s: %s: volume %s is mounted nowhere", m.dir, key, name)
	}
	if doc.at("kind").text() == "Deployment" {
		m.need(doc.at("spec", "replicas").text() == "1" && doc.at("spec", "strategy", "type").text() == "Recreate",
			"%s: %s: two processes could meet on one data folder", m.dir, key)
	}
}

// exists complains if an object is named that is not there.
func (m *manifests) exists(key, kind string, name tree) {
	if name.is() {
		m.need(m.all[kind+"/"+name.text()].is(), "%s: %s needs %s/%s, which is not there", m.dir, key, kind, name.text())
	}
}

func (m *manifests) container(key string, doc, c tree, volumes map[string]tree) {
	m.need(slices.ContainsFunc(m.kust.at("images").list(), func(i tree) bool {
		return i.at("name").text() == c.at("image").text() && i.at("newTag").is()
	}), "%s: %s: image %s is not named by the kustomization", m.dir, key, c.at("image").text())
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		get := c.at(probe, "httpGet")
		m.need(served(m.files, get.at("path").text()), "%s: %s: %s asks for %q, which the hub does not have", m.dir, key, probe, get.at("path").text())
		m.need(port(doc, get.at("port").text()), "%s: %s: %s asks at port %q, which no container has", m.dir, key, probe, get.at("port").text())
	}
	m.need(c.at("readinessProbe", "httpGet", "path").text() == "/readyz", "%s: %s is ready without its database", m.dir, key)
	m.need(c.at("livenessProbe", "httpGet", "path").text() == "/healthz", "%s: %s is restarted when its database is away", m.dir, key)
	safe := c.at("securityContext")
	m.need(safe.at("allowPrivilegeEscalation").text() == "false", "%s: %s may gain rights", m.dir, key)
	m.need(safe.at("readOnlyRootFilesystem").text() == "true", "%s: %s may write its root", m.dir, key)
	m.need(slices.Contains(safe.at("capabilities", "drop").texts(), "ALL"), "%s: %s keeps capabilities", m.dir, key)
	m.need(c.at("resources", "limits", "memory").is() && c.at("resources", "requests", "memory").is(), "%s: %s has no bounds", m.dir, key)
	m.configured(key, doc, c, volumes, m.environment(key, c))
}

// environment is what a container gets.
func (m *manifests) environment(key string, c tree) map[string]string {
	env := map[string]string{}
	for _, e := range c.at("env").list() {
		name, from := e.at("name").text(), e.at("valueFrom")
		env[name] = e.at("value").text()
		if secret := from.at("secretKeyRef"); m.told(secret) {
			env[name] = given
		} else if secret.is() {
			m.exists(key, "Secret", secret.at("name"))
			value := m.all["Secret/"+secret.at("name").text()].at("stringData", secret.at("key").text())
			m.need(value.is(), "%s: %s: %s is not in its Secret", m.dir, key, name)
			env[name] = value.text()
		}
		if field := from.at("fieldRef", "fieldPath"); field.is() {
			m.need(field.text() == "metadata.name", "%s: %s: %s of %s is not known here", m.dir, key, name, field.text())
			env[name] = "a-pod-0"
		}
	}
	return env
}

// told says whether the kustomization tells how to make a Secret that these files do not bring.
func (m *manifests) told(secret tree) bool {
	text, _ := fs.ReadFile(m.files, m.dir+"/kustomization.yaml")
	return secret.is() && strings.Contains(string(text), " create secret generic "+secret.at("name").text()+" --from-literal="+secret.at("key").text()+"=")
}

// configured checks the configuration that the hub is told to read.
func (m *manifests) configured(key string, doc, c tree, volumes map[string]tree, env map[string]string) {
	args := c.at("args").texts()
	m.need(slices.Equal(append(imageCommand(m.files)[:1:1], args...), imageCommand(m.files)), "%s: %s starts another command than the image", m.dir, key)
	writable := func(dir string) bool {
		return slices.ContainsFunc(c.at("volumeMounts").list(), func(v tree) bool {
			return v.at("mountPath").text() == dir && v.at("readOnly").text() != "true"
		})
	}
	m.need(writable("/data") && writable("/tmp"), "%s: %s cannot write /data and /tmp", m.dir, key)
	read := false
	for _, v := range c.at("volumeMounts").list() {
		object := m.all["ConfigMap/"+volumes[v.at("name").text()].at("configMap", "name").text()]
		for file, text := range object.at("data").fields() {
			if !slices.Contains(args, v.at("mountPath").text()+"/"+file) {
				continue
			}
			read = true
			cfg := checkConfig(m.files, m.dir+": "+file, []byte(text), env, m.problems)
			if cfg == nil {
				continue
			}
			m.need(port(doc, itoa(cfg.Server.Port)), "%s: %s: no container has the port %d of %s", m.dir, key, cfg.Server.Port, file)
			if doc.at("kind").text() == "StatefulSet" {
				m.shared(key, doc, cfg.Database.URI.Reveal(), cfg.Cluster.Advertise, itoa(cfg.Server.Port))
			}
		}
	}
	m.need(read, "%s: %s: the configuration that the hub reads is not mounted", m.dir, key)
}

// shared checks what several hubs need.
func (m *manifests) shared(key string, doc tree, database, advertise, port string) {
	m.need(strings.HasPrefix(database, "mongodb"), "%s: %s: hubs cannot share %s", m.dir, key, database)
	name := doc.at("spec", "serviceName").text()
	headless := m.all["Service/"+name]
	m.need(headless.at("spec", "clusterIP").text() == "None", "%s: %s: Service %q gives pods no names", m.dir, key, name)
	m.need(headless.at("spec", "publishNotReadyAddresses").text() == "true", "%s: %s: hubs that are not ready are not found", m.dir, key)
	m.need(advertise == "http://a-pod-0."+name+":"+port, "%s: %s tells others to reach it at %s", m.dir, key, advertise)
}
