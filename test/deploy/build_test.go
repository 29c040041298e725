package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
)

// overlays are what people build for mirrors that know of no other: the variants as they
// are, and with components.
var overlays = map[string]string{
	"base":      "resources: [../base]\n",
	"daemonset": "resources: [../daemonset]\n",
	"base, servicemonitor": `namespace: mirrord
resources: [../base]
components: [../components/servicemonitor]
`,
	"daemonset, all": `namespace: mirrord-nodes
resources: [../daemonset]
components: [../components/servicemonitor, ../components/containerd]
`,
	"daemonset, nonroot": `resources: [../daemonset]
components: [../components/containerd, ../components/nonroot]
`,
}

// fleets are those for mirrors that share a bucket.
var fleets = map[string]string{
	"fleet": "resources: [../fleet]\n",
	"fleet, servicemonitor": `namespace: mirrord-fleet
resources: [../fleet]
components: [../components/servicemonitor]
`,
	"daemonset, fleet": `resources: [../daemonset]
components: [../components/fleet]
`,
	"daemonset, fleet, nonroot": `resources: [../daemonset]
components: [../components/fleet, ../components/containerd, ../components/nonroot]
`,
}

// eachOverlay builds all of them.
func eachOverlay(t *testing.T, test func(t *testing.T, m manifests)) {
	eachOf(t, overlays, test)
	eachOf(t, fleets, test)
}

func eachOf(t *testing.T, some map[string]string, test func(t *testing.T, m manifests)) {
	for name, text := range some {
		t.Run(name, func(t *testing.T) {
			test(t, build(t, map[string]string{"kustomization.yaml": text}))
		})
	}
}

// manifests are the objects of an overlay.
type manifests struct {
	text []byte // of all, as kustomize build prints them

	namespaces  []corev1.Namespace
	configMaps  []corev1.ConfigMap
	secrets     []corev1.Secret
	services    []corev1.Service
	claims      []corev1.PersistentVolumeClaim
	deployments []appsv1.Deployment
	daemonSets  []appsv1.DaemonSet
	statefuls   []appsv1.StatefulSet
	policies    []networkingv1.NetworkPolicy
	disruptions []policyv1.PodDisruptionBudget
	monitors    []monitoringv1.ServiceMonitor
}

// build does what kustomize build does in a directory with the files beside the variants.
func build(t *testing.T, files map[string]string) manifests {
	t.Helper()
	dir := t.TempDir()
	check(t, os.CopyFS(dir, os.DirFS(filepath.Join(repository, "deploy/kubernetes"))))
	overlay := filepath.Join(dir, "overlay")
	check(t, os.Mkdir(overlay, 0o755))
	for name, text := range files {
		check(t, os.WriteFile(filepath.Join(overlay, name), []byte(text), 0o644))
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), overlay)
	check(t, err)
	text, err := built.AsYaml()
	check(t, err)
	m := manifests{text: text}
	for _, object := range bytes.Split(text, []byte("\n---\n")) {
		m.add(t, object)
	}
	return m
}

// add adds an object. What is unknown in it is an error.
func (m *manifests) add(t *testing.T, text []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	check(t, yaml.Unmarshal(text, &kind))
	switch kind.Kind {
	case "Namespace":
		addTo(t, &m.namespaces, text)
	case "ConfigMap":
		addTo(t, &m.configMaps, text)
	case "Secret":
		addTo(t, &m.secrets, text)
	case "Service":
		addTo(t, &m.services, text)
	case "PersistentVolumeClaim":
		addTo(t, &m.claims, text)
	case "Deployment":
		addTo(t, &m.deployments, text)
	case "DaemonSet":
		addTo(t, &m.daemonSets, text)
	case "StatefulSet":
		addTo(t, &m.statefuls, text)
	case "NetworkPolicy":
		addTo(t, &m.policies, text)
	case "PodDisruptionBudget":
		addTo(t, &m.disruptions, text)
	case "ServiceMonitor":
		addTo(t, &m.monitors, text)
	default:
		t.Fatalf("the test knows no %s", kind.Kind)
	}
}

func addTo[T any](t *testing.T, list *[]T, text []byte) {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict(text, &object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	*list = append(*list, object)
}

// pod returns the template of the only pods, with the volumes that a StatefulSet adds.
func (m manifests) pod(t *testing.T) corev1.PodTemplateSpec {
	t.Helper()
	var pods []corev1.PodTemplateSpec
	for _, d := range m.deployments {
		pods = append(pods, d.Spec.Template)
	}
	for _, d := range m.daemonSets {
		pods = append(pods, d.Spec.Template)
	}
	for _, s := range m.statefuls {
		pod := *s.Spec.Template.DeepCopy()
		for _, claim := range s.Spec.VolumeClaimTemplates {
			source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}}
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim.Name, VolumeSource: source})
		}
		pods = append(pods, pod)
	}
	if len(pods) != 1 {
		t.Fatalf("%d kinds of pods, want 1", len(pods))
	}
	return pods[0]
}
