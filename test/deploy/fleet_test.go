package deploy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestFleetsServe runs three pods of each fleet with a bucket: what one has fetched, the
// others get from the bucket, and Docker Hub counts it once.
func TestFleetsServe(t *testing.T) {
	eachOf(t, fleets, func(t *testing.T, m manifests) {
		startHub(t)
		store := startStore(t)
		m.secrets = append(m.secrets, secretOfFleet("secret", "s3-secret-key"))
		runFleet(t, m, upstream, "MIRRORD_FLEET_S3=endpoint="+store+",bucket="+storeBucket+
			",region=us-east-1,path_style=true,access_key="+storeKey+",secret_key_file=/run/secrets/mirrord-fleet/s3-secret-key")
	})
}

// secretOfFleet returns the Secret mirrord-fleet with these keys.
func secretOfFleet(keys ...string) corev1.Secret {
	values := map[string][]byte{"secret": []byte(fleetSecret), "s3-secret-key": []byte(storeSecret + "\n")}
	data := make(map[string][]byte)
	for _, key := range keys {
		data[key] = values[key]
	}
	return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mirrord-fleet"}, Data: data}
}

// runFleet runs three pods until an image is pulled through each, and each is listed.
func runFleet(t *testing.T, m manifests, env ...string) {
	t.Helper()
	nodes, names := newNodes(t, 3), []string{}
	var running []*running
	for _, n := range nodes {
		if strings.HasSuffix(t.Name(), "nonroot") {
			n.prepareCache(t)
		}
		running = append(running, n.run(t, m, append(env, n.admin())...))
		names = append(names, n.pod)
	}
	pullThrough(t, nodes[0].address, nodes[1].address, nodes[2].address)
	pod := m.pod(t).Spec
	c := nodes[0].container(t, m, pod, pod.Containers[0])
	c.Env = append(c.Env, env...)
	c.wantMembers(t, names)
	for _, r := range running {
		r.stop(t, grace(t, m))
	}
}

// pullThrough pulls an image through each mirror, the others once the first has uploaded it.
func pullThrough(t *testing.T, mirrors ...netip.Addr) {
	t.Helper()
	for i, mirror := range mirrors {
		pull(t, fmt.Sprintf("http://%s:5000", mirror), "library/demo", "20layers")
		if i == 0 {
			awaitUploads(t, mirror)
		}
	}
	if n := manifestGETs(t); n != 1 {
		t.Errorf("the upstream has counted %d pulls, want 1", n)
	}
}

// admin is the variable for an admin API on loopback at another address than that of the
// other pods.
func (n *node) admin() string {
	return fmt.Sprintf("MIRRORD_ADMIN_LISTEN=127.0.1.%d:5001", n.address.As4()[3])
}

// wantMembers runs mirrord fleet status in the container, and finds the mirrors.
func (c container) wantMembers(t *testing.T, names []string) {
	t.Helper()
	c.Args = []string{"/mirrord", "fleet", "status"}
	r := c.start(t)
	r.wait(t, 10*time.Second)
	for _, name := range names {
		if !strings.Contains(r.log.String(), name) {
			t.Errorf("%s is not a member:\n%s", name, r.log)
		}
	}
}

// newNodes returns nodes whose pods have addresses of their own, and know the others' names.
func newNodes(t *testing.T, count int) (nodes []*node) {
	t.Helper()
	var hosts strings.Builder
	for i := range count {
		n := newNode(t)
		n.pod = fmt.Sprintf("mirrord-%d", i)
		n.address = addressOf(i)
		fmt.Fprintf(&hosts, "%s %s.mirrord-siblings\n", n.address, n.pod)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		n.image.writeHosts(t, hosts.String())
	}
	return nodes
}

// addressOf is an address of the i-th of several containers.
func addressOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{podAddress[0], podAddress[1], 1, byte(i + 1)})
}

// writeHosts gives a container the names of others.
func (i image) writeHosts(t *testing.T, text string) {
	t.Helper()
	etc := filepath.Join(i.root, "etc")
	check(t, errors.Join(os.MkdirAll(etc, 0o755), os.WriteFile(filepath.Join(etc, "hosts"), []byte(text), 0o644)))
}

// awaitUploads returns when a mirror has uploaded all that it has fetched.
func awaitUploads(t *testing.T, mirror netip.Addr) {
	t.Helper()
	url := fmt.Sprintf("http://%s:5002/metrics", mirror)
	eventually(t, url+" has no uploads", func() bool {
		_, metrics := get(t, url)
		return strings.Contains(string(metrics), "\nmirrord_fleet_uploads_waiting 0\n")
	})
}

// TestSiblings checks that the port for the other mirrors is open to them alone, and that
// each pod says where it is.
func TestSiblings(t *testing.T) {
	eachOf(t, fleets, func(t *testing.T, m manifests) {
		pod := m.pod(t)
		port := corev1.ContainerPort{Name: "fleet", ContainerPort: 5003}
		n := node{pod: "mirrord-7", address: netip.MustParseAddr("10.1.2.3")}
		env := strings.Join(n.variables(t, pod.Spec.Containers[0].Env), "\n") + "\n"
		names := []string{"10.1.2.3", n.pod + "." + headless(m)}
		if !strings.Contains(env, fmt.Sprintf("MIRRORD_FLEET_LISTEN=%s:%d\n", n.address, port.ContainerPort)) ||
			!strings.Contains(env, fmt.Sprintf("MIRRORD_FLEET_ADVERTISE=%s:%d\n", names[len(m.statefuls)], port.ContainerPort)) {
			t.Errorf("the mirror has the wrong addresses:\n%s", env)
		}
		var in, out int
		for _, rule := range m.policies[0].Spec.Ingress {
			if rule.Ports[0].Port.StrVal == port.Name {
				in++
				wantMirrorsOnly(t, rule.From, pod.Labels)
			}
		}
		for _, rule := range m.policies[0].Spec.Egress {
			if rule.Ports[0].Port.IntVal == port.ContainerPort {
				out++
				wantMirrorsOnly(t, rule.To, pod.Labels)
			}
		}
		if in != 1 || out != 1 {
			t.Errorf("%d rules let mirrors in, and %d out, want one of each", in, out)
		}
	})
}

// headless is the service that gives pods their names.
func headless(m manifests) string {
	for _, s := range m.statefuls {
		for _, service := range m.services {
			if service.Name == s.Spec.ServiceName && service.Spec.ClusterIP == corev1.ClusterIPNone && service.Spec.PublishNotReadyAddresses {
				return service.Name
			}
		}
	}
	return ""
}

// wantMirrorsOnly checks that peers are the mirrors of the same namespace.
func wantMirrorsOnly(t *testing.T, peers []networkingv1.NetworkPolicyPeer, of map[string]string) {
	t.Helper()
	if len(peers) != 1 || peers[0].PodSelector == nil || peers[0].NamespaceSelector != nil || peers[0].IPBlock != nil {
		t.Fatalf("the port of the fleet is open to %v", peers)
	}
	s, err := metav1.LabelSelectorAsSelector(peers[0].PodSelector)
	check(t, err)
	if s.Empty() || !s.Matches(labels.Set(of)) {
		t.Errorf("the port of the fleet is open to %v, not to %v", s, of)
	}
}
