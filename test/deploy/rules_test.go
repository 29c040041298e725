package deploy

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// drainTime is that of mirrord serve.
const drainTime = 30 * time.Second

// TestPods checks what every pod must have.
func TestPods(t *testing.T) {
	eachOverlay(t, func(t *testing.T, m manifests) {
		pod := m.pod(t).Spec
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Error("the pod has a token for the API of Kubernetes")
		}
		if pod.TerminationGracePeriodSeconds == nil || *pod.TerminationGracePeriodSeconds <= int64(drainTime.Seconds()) {
			t.Error("the grace period is not longer than the drain")
		}
		if s := pod.SecurityContext.SeccompProfile; s == nil || s.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Error("there is no profile of seccomp")
		}
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			t.Run(c.Name, func(t *testing.T) { checkContainer(t, c) })
		}
		checkProbes(t, pod.Containers[0])
	})
}

func checkContainer(t *testing.T, c corev1.Container) {
	if c.Image != imageName {
		t.Errorf("the image is %s, want %s", c.Image, imageName)
	}
	s := c.SecurityContext
	if !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		t.Errorf("the security context is %v", s)
	}
	if c.Resources.Requests.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("the resources are %v", c.Resources)
	}
}

// checkProbes checks that probes ask the listener that serves nothing else: that of the
// registry may have TLS or users, that of the admin API is for the pod alone.
func checkProbes(t *testing.T, c corev1.Container) {
	for what, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		path := map[bool]string{true: "/readyz", false: "/healthz"}[what == "readiness"]
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "metrics" {
			t.Errorf("the %s probe is %v", what, probe.HTTPGet)
		}
	}
}

// TestUsers checks that only those variants run as root that say so, and what lets them.
func TestUsers(t *testing.T) {
	eachOverlay(t, func(t *testing.T, m manifests) {
		pod := m.pod(t).Spec
		root := *pod.SecurityContext.RunAsUser == 0
		want := len(m.daemonSets) > 0 && !strings.HasSuffix(t.Name(), "nonroot")
		if root != want {
			t.Errorf("it runs as root: %v, want %v", root, want)
		}
		if nonRoot := pod.SecurityContext.RunAsNonRoot; !root && (nonRoot == nil || !*nonRoot) {
			t.Error("runAsNonRoot is not set")
		}
	})
}

// TestPodSecurity checks that the namespace lets its pods in, as Kubernetes does.
func TestPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	check(t, err)
	eachOverlay(t, func(t *testing.T, m manifests) {
		level, err := api.ParseLevel(m.namespaces[0].Labels[api.EnforceLevelLabel])
		check(t, err)
		if strictest := level == api.LevelRestricted; strictest != (len(m.daemonSets) == 0) {
			t.Errorf("the namespace enforces %s", level)
		}
		pod := m.pod(t)
		result := policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason(), result.ForbiddenDetail())
		}
	})
}

// TestOneWriter checks that two pods never have the same cache directory.
func TestOneWriter(t *testing.T) {
	eachOverlay(t, func(t *testing.T, m manifests) {
		for _, d := range m.deployments {
			if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != "Recreate" {
				t.Errorf("%d replicas with the strategy %s", *d.Spec.Replicas, d.Spec.Strategy.Type)
			}
		}
		for _, d := range m.daemonSets {
			if surge := d.Spec.UpdateStrategy.RollingUpdate.MaxSurge; surge != nil && surge.String() != "0" {
				t.Errorf("max surge is %v", surge)
			}
		}
		for _, s := range m.statefuls {
			if len(s.Spec.VolumeClaimTemplates) != 1 || s.Spec.VolumeClaimTemplates[0].Name != "cache" {
				t.Errorf("the claims of each pod are %v", s.Spec.VolumeClaimTemplates)
			}
		}
	})
}

// TestNamespaces checks that all objects are in the namespace that comes with them. The
// variants have different ones, so that a cluster can have both.
func TestNamespaces(t *testing.T) {
	eachOverlay(t, func(t *testing.T, m manifests) {
		want := "mirrord"
		if len(m.daemonSets) > 0 {
			want = "mirrord-nodes"
		}
		if len(m.statefuls) > 0 {
			want = "mirrord-fleet"
		}
		if got := m.namespaces[0].Name; got != want {
			t.Errorf("the namespace is %s, want %s", got, want)
		}
		for object := range bytes.SplitSeq(m.text, []byte("\n---\n")) {
			var partial metav1.PartialObjectMetadata
			check(t, yaml.Unmarshal(object, &partial))
			if partial.Kind != "Namespace" && partial.Namespace != want {
				t.Errorf("%s %s is in %q, want %s", partial.Kind, partial.Name, partial.Namespace, want)
			}
		}
	})
}

// TestSelectors checks that what selects pods or services selects those of the mirror.
func TestSelectors(t *testing.T) {
	eachOverlay(t, func(t *testing.T, m manifests) {
		pod := m.pod(t)
		selects := func(what string, selector *metav1.LabelSelector, of map[string]string) {
			s, err := metav1.LabelSelectorAsSelector(selector)
			check(t, err)
			if s.Empty() || !s.Matches(labels.Set(of)) {
				t.Errorf("%s selects %v, not %v", what, s, of)
			}
		}
		for _, d := range m.deployments {
			selects("the deployment", d.Spec.Selector, pod.Labels)
		}
		for _, d := range m.daemonSets {
			selects("the daemon set", d.Spec.Selector, pod.Labels)
		}
		for _, s := range m.statefuls {
			selects("the stateful set", s.Spec.Selector, pod.Labels)
			selects("the spread of the pods", pod.Spec.TopologySpreadConstraints[0].LabelSelector, pod.Labels)
		}
		for _, p := range m.policies {
			selects("the network policy", &p.Spec.PodSelector, pod.Labels)
		}
		for _, p := range m.disruptions {
			selects("the disruption budget", p.Spec.Selector, pod.Labels)
		}
		for _, s := range m.services {
			selects("service "+s.Name, &metav1.LabelSelector{MatchLabels: s.Spec.Selector}, pod.Labels)
		}
		for _, monitor := range m.monitors {
			i := slices.IndexFunc(m.services, func(s corev1.Service) bool { return s.Name == "mirrord-metrics" })
			selects("the service monitor", &monitor.Spec.Selector, m.services[i].Labels)
			if got, want := monitor.Spec.Endpoints[0].Port, m.services[i].Spec.Ports[0].Name; got != want {
				t.Errorf("port %s is scraped, want %s", got, want)
			}
		}
	})
}

// TestPorts checks that services and policies are for ports that the container has.
func TestPorts(t *testing.T) {
	eachOverlay(t, func(t *testing.T, m manifests) {
		var names []string
		for _, p := range m.pod(t).Spec.Containers[0].Ports {
			names = append(names, p.Name)
			if p.HostPort != 0 && !net.ParseIP(p.HostIP).IsLoopback() {
				t.Errorf("port %d of the node is open to others at %q", p.HostPort, p.HostIP)
			}
		}
		has := func(what string, port intstr.IntOrString) {
			if !slices.Contains(names, port.StrVal) {
				t.Errorf("%s has the port %v, want one of %v", what, port.String(), names)
			}
		}
		for _, s := range m.services {
			for _, p := range s.Spec.Ports {
				has("service "+s.Name, p.TargetPort)
			}
		}
		for _, p := range m.policies {
			for _, rule := range p.Spec.Ingress {
				for _, port := range rule.Ports {
					has("the network policy", *port.Port)
				}
			}
			checkEgress(t, p.Spec.Egress)
		}
	})
}

// checkEgress checks that the mirror reaches DNS and upstreams, and no other port of others
// than mirrors.
func checkEgress(t *testing.T, rules []networkingv1.NetworkPolicyEgressRule) {
	var open []string
	for _, rule := range rules {
		if len(rule.To) > 0 {
			continue // TestSiblings
		}
		for _, port := range rule.Ports {
			protocol := corev1.ProtocolTCP
			if port.Protocol != nil {
				protocol = *port.Protocol
			}
			open = append(open, string(protocol)+" "+port.Port.String())
		}
	}
	slices.Sort(open)
	if want := []string{"TCP 443", "TCP 53", "UDP 53"}; !slices.Equal(open, want) {
		t.Errorf("open to the outside: %v, want %v", open, want)
	}
}
