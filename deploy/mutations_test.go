package deploy_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// Each is a mistake that one may make, and what the checks say to it.
var mistakes = []struct{ file, old, new, says string }{
	{"Dockerfile", "COPY sdk ./sdk\n", "", "package sdk is not copied"},
	{"Dockerfile", "COPY sdk ./sdk", "COPY sdks ./sdk", "COPY sdks, which does not exist"},
	{"Dockerfile.dockerignore", "!plugins\n", "", "COPY plugins, which is kept out of the build"},
	{"Dockerfile", "--from=build", "--from=builder", "COPY from builder, which is no stage"},
	{"Dockerfile", "ENV CGO_ENABLED=0\n", "", "the binary may need a C library"},
	{"Dockerfile", "USER 10001:10001\n", "", "the image runs as 0"},
	{"Dockerfile", "/readyz\"", "/ready\"", "HEALTHCHECK asks for what the hub does not have"},
	{"Dockerfile", "golang:1.26-alpine", "golang:1.20-alpine", "FROM another Go than go.mod's"},
	{"Dockerfile", "alpine:3.22", "alpine:latest", "FROM alpine:latest may change any day"},

	{"compose/one.yaml", "- data:/data", "- store:/data", "there is no store under volumes"},
	{"compose/one.yaml", "networks: [outside]", "networks: [inside]", "there is no inside under networks"},
	{"compose/one.yaml", "\"127.0.0.1:3000:3000\"", "\"3000:3000\"", "publishes 3000:3000 to other machines"},
	{"compose/one.yaml", "127.0.0.1:3000:3000", "127.0.0.1:3000:3001", "and the hub listens on 3000"},
	{"compose/one.yaml", "one.wildcat.yaml", "two.wildcat.yaml", "there is no file deploy/compose/two.wildcat.yaml"},
	{"compose/one.yaml", "deploy/Dockerfile", "Dockerfile", "there is no Dockerfile to build from"},
	{"compose/one.yaml", "/etc/wildcat/wildcat.yaml", "/etc/wildcat.yaml", "the image reads another file than /etc/wildcat.yaml"},
	{"compose/one.yaml", "read_only: true", "read_only: false", "hub may write its root"},
	{"compose/one.yaml", "restart:", "\trestart:", "found a tab character"},
	{"compose/one.yaml", "      WILDCAT_ADMIN_KEY: ${WILDCAT_ADMIN_KEY:?put it into .env}\n", "", "one.wildcat.yaml: it gives no API key"},
	{"compose/one.yaml", "${WILDCAT_ADMIN_KEY:?put it into .env}", "${WILDCAT_ADMIN_KEY:-admin}", "expected 32 to 512 characters"},
	{"compose/one.wildcat.yaml", "log: {format: json}", "log: {format: json}\nauth: {disabled: true}", "whoever reaches it needs no key"},
	{"compose/one.wildcat.yaml", "host: 0.0.0.0", "host: 127.0.0.1", "nobody outside of its container reaches 127.0.0.1"},
	{"compose/one.wildcat.yaml", "egress:", "egres:", "did you mean \"egress\"?"},
	{"compose/several.yaml", "  mongo-3: {condition", "  mongo-4: {condition", "mongo-init needs mongo-4, which is no service"},
	{"compose/several.yaml", "  healthcheck:\n    test", "  x-healthcheck:\n    test", "waits for the health of mongo-1, which tells none"},
	{"compose/several.yaml", "service:mongo-1", "service:mongo-0", "mongo-init needs mongo-0, which is no service"},
	{"compose/several.yaml", "secrets: [mongo_key]", "secrets: [key]", "there is no key under secrets"},
	{"compose/several.yaml", "HUB: hub-2", "HUB: hub-1", "hub-2 tells others to reach it at http://hub-1:3000"},
	{"compose/several.yaml", "      HUB: hub-3\n", "", "hub-3 tells others to reach it at http://hub-1:3000"},
	{"compose/several.yaml", "[outside, hubs, database]", "[outside, hubs]", "hub-1 has no network in common with mongo-1"},
	{"compose/several.yaml", "MONGO_KEY\n", "MONGO_KEYFILE\n", "MONGO_KEY of the example is not used"},
	{"compose/several.env.example", "MONGO_PASSWORD=\n", "MONGO_PASSWORD=secret\n", "the example gives MONGO_PASSWORD a value"},
	{"compose/haproxy.cfg", "    server hub-3 hub-3:3000\n", "", "proxy passes nothing on to hub-3"},
	{"compose/haproxy.cfg", "bind :8080", "bind :80", "publishes 127.0.0.1:3000:8080, where it does not listen"},
	{"compose/haproxy.cfg", "GET /readyz", "GET /ready", "the hub has no /ready"},

	{"kubernetes/one/kustomization.yaml", "  - data.yaml\n", "", "data.yaml is not applied"},
	{"kubernetes/one/kustomization.yaml", "name: wildcat\n", "name: hub\n", "image wildcat is not named by the kustomization"},
	{"kubernetes/one/data.yaml", "name: wildcat-data", "name: data", "needs PersistentVolumeClaim/wildcat-data, which is not there"},
	{"kubernetes/one/hub.yaml", "type: Recreate", "type: RollingUpdate", "two processes could meet on one data folder"},
	{"kubernetes/one/hub.yaml", "- {name: tmp, mountPath: /tmp}", "- {name: temp, mountPath: /tmp}", "mounts temp, which is no volume"},
	{"kubernetes/one/hub.yaml", "            - {name: data, mountPath: /data}\n", "", "volume data is mounted nowhere"},
	{"kubernetes/one/hub.yaml", "path: /readyz", "path: /ready", "readinessProbe asks for \"/ready\""},
	{"kubernetes/one/hub.yaml", "{path: /readyz, port: http}", "{path: /readyz, port: web}", "readinessProbe asks at port \"web\""},
	{"kubernetes/one/hub.yaml", "containerPort: 3000", "containerPort: 8080", "no container has the port 3000 of wildcat.yaml"},
	{"kubernetes/one/hub.yaml", "runAsUser: 10001", "runAsUser: 1000", "runs as another user than the image"},
	{"kubernetes/one/hub.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"},
	{"kubernetes/one/hub.yaml", "drop: [ALL]", "drop: []", "keeps capabilities"},
	{"kubernetes/one/hub.yaml", "/etc/wildcat, readOnly", "/etc/hub, readOnly", "the configuration that the hub reads is not mounted"},
	{"kubernetes/one/hub.yaml", "serve, --config", "run, --config", "starts another command than the image"},
	{"kubernetes/one/network.yaml", "selector: {app.kubernetes.io/name: wildcat}", "selector: {app: wildcat}", "Service/wildcat selects no pods"},
	{"kubernetes/one/network.yaml", "targetPort: http", "targetPort: web", "passes on to port \"web\""},
	{"kubernetes/one/network.yaml", "type: ClusterIP", "type: LoadBalancer", "is reached from outside of the cluster"},
	{"kubernetes/one/network.yaml", "[Ingress, Egress]", "[Egress]", "NetworkPolicy/wildcat lets everybody in"},
	{"kubernetes/one/network.yaml", "port: 443", "port: 80", "keeps the hub from WhatsApp"},
	{"kubernetes/one/hub.yaml", "WILDCAT_ADMIN_KEY", "ADMIN_KEY", "wildcat.yaml: it gives no API key"},
	{"kubernetes/one/kustomization.yaml", "generic wildcat-admin-key", "generic admin-key", "needs Secret/wildcat-admin-key, which is not there"},
	{"kubernetes/several/hub.yaml", "wildcat-admin-key", "wildcat-key", "needs Secret/wildcat-key, which is not there"},
	{"kubernetes/one/config.yaml", "  name: wildcat\n", "  name: hub\n", "ConfigMap/hub is used by no pod"},
	{"kubernetes/several/hub.yaml", "key: uri", "key: url", "MONGO_URL is not in its Secret"},
	{"kubernetes/several/hub.yaml", "serviceName: wildcat", "serviceName: wildcat-api", "Service \"wildcat-api\" gives pods no names"},
	{"kubernetes/several/hub.yaml", "POD_NAME", "POD", "environment variable POD_NAME is not set"},
	{"kubernetes/several/hub.yaml", "maxUnavailable: 1", "maxUnavailable: 3", "lets 3 of 3 go"},
	{"kubernetes/several/hub.yaml", "matchLabels: {app.kubernetes.io/name: wildcat}\n  template", "matchLabels: {app: hub}\n  template", "selects other pods than it makes"},
	{"kubernetes/several/database.yaml", "uri: mongodb://", "uri: postgres://", "expected sqlite:<file>"},
	{"kubernetes/several/config.yaml", ".wildcat:3000", ".hubs:3000", "tells others to reach it at http://a-pod-0.hubs:3000"},
	{"kubernetes/several/network.yaml", "port: 27017", "port: 27018", "keeps the hub from its database"},
	{"kubernetes/several/network.yaml", "        - podSelector:\n            matchLabels: {app.kubernetes.io/name: wildcat}\n        - podSelector", "        - podSelector", "keeps hubs from one another"},
	{"kubernetes/several/network.yaml", "publishNotReadyAddresses: true", "publishNotReadyAddresses: false", "hubs that are not ready are not found"},
}

func TestEachMistakeIsFound(t *testing.T) {
	needed := packages(t)
	for _, m := range mistakes {
		t.Run(m.file+" "+m.says, func(t *testing.T) {
			files, name := checkout(t), "deploy/"+m.file
			text := string(files[name].Data)
			require.Contains(t, text, m.old)
			files[name] = &fstest.MapFile{Data: []byte(strings.Replace(text, m.old, m.new, 1))}
			require.Contains(t, strings.Join(checkAll(files, needed), "\n"), m.says)
		})
	}
}
