// Package schema_test reads the files of deploy with the types of those who read them:
// Kubernetes' own API, and the library that docker compose loads its files with. It is a
// module of its own, so that the hub does not depend on them.
package schema_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// object makes an empty object of a kind, nil if the kind is not known here.
func object(m metav1.TypeMeta) any {
	switch m.APIVersion + " " + m.Kind {
	case "v1 ConfigMap":
		return new(corev1.ConfigMap)
	case "v1 Secret":
		return new(corev1.Secret)
	case "v1 Service":
		return new(corev1.Service)
	case "v1 PersistentVolumeClaim":
		return new(corev1.PersistentVolumeClaim)
	case "apps/v1 Deployment":
		return new(appsv1.Deployment)
	case "apps/v1 StatefulSet":
		return new(appsv1.StatefulSet)
	case "networking.k8s.io/v1 NetworkPolicy":
		return new(networkingv1.NetworkPolicy)
	case "policy/v1 PodDisruptionBudget":
		return new(policyv1.PodDisruptionBudget)
	}
	return nil
}

// manifests reads all objects of a text, strictly, and says how many there are.
func manifests(text []byte) (n int, err error) {
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		var m metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &m); err != nil {
			return n, err
		}
		into := object(m)
		if into == nil {
			return n, fmt.Errorf("%s %s is no kind that is known here", m.APIVersion, m.Kind)
		}
		// As the API server reads it: unlike encoding/json with an eye on upper and lower case.
		data, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return n, fmt.Errorf("%s: %w", m.Kind, err)
		}
		unknown, err := json.UnmarshalStrict(data, into)
		if err = errors.Join(append(unknown, err)...); err != nil {
			return n, fmt.Errorf("%s: %w", m.Kind, err)
		}
		n++
	}
}

func TestKubernetesKnowsEveryField(t *testing.T) {
	files, err := filepath.Glob("../kubernetes/*/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue // kustomize's own kind
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := manifests(text); err != nil || n == 0 {
			t.Errorf("%s: %d objects, %v", file, n, err)
		}
	}
}

func TestAFieldThatKubernetesDoesNotKnowIsFound(t *testing.T) {
	text, err := os.ReadFile("../kubernetes/several/hub.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{
		"readOnlyRootFilesystem":    "readOnlyRootFileSystem",
		"serviceName":               "service",
		"topologySpreadConstraints": "topologySpread",
		"replicas: 3":               "replicas: three",
		"policy/v1":                 "policy/v1beta1",
	} {
		wrong := strings.Replace(string(text), old, new, 1)
		if wrong == string(text) {
			t.Fatalf("%q is not there any more", old)
		}
		if _, err := manifests([]byte(wrong)); err == nil {
			t.Errorf("%q went through", new)
		}
	}
}

// load is what docker compose does with a file before it asks an engine.
func load(t *testing.T, file string, env ...string) (services int, err error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{file}, cli.WithEnv(env), cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		return 0, err
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		return 0, err
	}
	return len(p.Services), nil
}

func TestComposeLoadsTheFiles(t *testing.T) {
	env := []string{"MONGO_PASSWORD=a", "MONGO_ROOT_PASSWORD=b", "MONGO_KEY=c", "WILDCAT_ADMIN_KEY=d"}
	for file, want := range map[string]int{"../compose/one.yaml": 1, "../compose/several.yaml": 8} {
		if n, err := load(t, file, env...); err != nil || n != want {
			t.Errorf("%s: %d services, %v", file, n, err)
		}
	}
	if _, err := load(t, "../compose/several.yaml", env[1:]...); err == nil || !strings.Contains(err.Error(), "MONGO_PASSWORD") {
		t.Errorf("a secret that is not set: %v", err)
	}
}

func TestAMistakeThatComposeWouldRefuseIsFound(t *testing.T) {
	text, err := os.ReadFile("../compose/several.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{
		"stop_grace_period: 20s": "stop_grace: 20s",
		"mem_limit: 1g":          "mem_limit: [1]",
		"service_healthy}":       "service_well}",
		"network_mode: service:": "network_mode: service:x-",
		"source: proxy":          "source: prox",
	} {
		wrong := strings.Replace(string(text), old, new, 1)
		if wrong == string(text) {
			t.Fatalf("%q is not there any more", old)
		}
		file := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, file, "MONGO_PASSWORD=a", "MONGO_ROOT_PASSWORD=b", "MONGO_KEY=c"); err == nil {
			t.Errorf("%q went through", new)
		}
	}
}
