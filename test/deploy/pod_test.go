package deploy

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// node is a machine of a cluster with a pod: it has the directories of hostPath volumes.
type node struct {
	root    string
	image   image
	pod     string     // its name
	address netip.Addr // of the pod; zero: all are
}

func newNode(t *testing.T) *node {
	t.Helper()
	needRoot(t)
	return &node{root: t.TempDir(), image: unpackImage(t), pod: "mirrord-0"}
}

// all stands for all addresses in what a pod is configured with.
const all = "0.0.0.0"

// bound returns text with the pod's own address for all of them: the pods of the test
// share a network.
func (n *node) bound(text string) string {
	if !n.address.IsValid() {
		return text
	}
	return strings.ReplaceAll(text, all, n.address.String())
}

// run does what a kubelet does: init containers one after the other, then the container,
// until it is ready. extra is added to the environment of the latter.
func (n *node) run(t *testing.T, m manifests, extra ...string) *running {
	t.Helper()
	pod := m.pod(t).Spec
	for _, c := range pod.InitContainers {
		n.container(t, m, pod, c).start(t).wait(t, 10*time.Second)
	}
	c := n.container(t, m, pod, pod.Containers[0])
	wantNoListen(t, c.Env)
	c.Env = append(c.Env, extra...)
	r := c.start(t)
	for _, probe := range []*corev1.Probe{pod.Containers[0].StartupProbe, pod.Containers[0].ReadinessProbe, pod.Containers[0].LivenessProbe} {
		r.await(t, n.probeURL(t, pod.Containers[0], probe))
	}
	return r
}

// grace is how long the pod may take to end.
func grace(t *testing.T, m manifests) time.Duration {
	t.Helper()
	return time.Duration(*m.pod(t).Spec.TerminationGracePeriodSeconds) * time.Second
}

// probeURL is what the kubelet asks.
func (n *node) probeURL(t *testing.T, c corev1.Container, probe *corev1.Probe) string {
	t.Helper()
	i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == probe.HTTPGet.Port.StrVal })
	if i < 0 {
		t.Fatalf("the container has no port %v", probe.HTTPGet.Port)
	}
	address := netip.AddrFrom4(podAddress)
	if n.address.IsValid() {
		address = n.address
	}
	return fmt.Sprintf("http://%s:%d%s", address, c.Ports[i].ContainerPort, probe.HTTPGet.Path)
}

// container makes one of a pod.
func (n *node) container(t *testing.T, m manifests, pod corev1.PodSpec, c corev1.Container) container {
	t.Helper()
	made := n.image.container(t)
	made.Args = n.image.command(c.Command, c.Args)
	made.ReadOnlyRoot = *c.SecurityContext.ReadOnlyRootFilesystem
	made.Env = slices.Clone(made.Env)
	made.Env = append(made.Env, n.variables(t, c.Env)...)
	made.setUser(t, *pod.SecurityContext, *c.SecurityContext)
	for _, vm := range c.VolumeMounts {
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == vm.Name })
		if i < 0 {
			t.Fatalf("the pod has no volume %s", vm.Name)
		}
		made.Mounts = append(made.Mounts, mount{n.volume(t, m, pod, pod.Volumes[i]), vm.MountPath, vm.ReadOnly})
	}
	return made
}

// variables returns the environment of a container, as NAME=value.
func (n *node) variables(t *testing.T, all []corev1.EnvVar) (env []string) {
	t.Helper()
	var known []string // $(NAME) and its value, by turns
	for _, e := range all {
		value := strings.NewReplacer(known...).Replace(e.Value)
		if e.ValueFrom != nil {
			value = n.field(t, e.ValueFrom.FieldRef.FieldPath)
		}
		value = n.bound(value)
		known = append(known, "$("+e.Name+")", value)
		env = append(env, e.Name+"="+value)
	}
	return env
}

// field is what the pod learns of itself by the downward API.
func (n *node) field(t *testing.T, path string) string {
	t.Helper()
	switch path {
	case "metadata.name":
		return n.pod
	case "spec.nodeName":
		return "node-of-" + n.pod
	case "status.podIP":
		return n.address.String()
	}
	t.Fatalf("the test knows no field %s", path)
	return ""
}

// setUser applies the security contexts, of which that of the container counts more.
func (c *container) setUser(t *testing.T, pod corev1.PodSecurityContext, own corev1.SecurityContext) {
	t.Helper()
	for _, id := range []*int64{pod.RunAsUser, own.RunAsUser} {
		if id != nil {
			c.UID = int(*id)
		}
	}
	for _, id := range []*int64{pod.RunAsGroup, own.RunAsGroup} {
		if id != nil {
			c.GID = int(*id)
		}
	}
	if pod.FSGroup != nil {
		c.Groups = append(c.Groups, int(*pod.FSGroup))
	}
	nonRoot := pod.RunAsNonRoot
	if own.RunAsNonRoot != nil {
		nonRoot = own.RunAsNonRoot
	}
	if nonRoot != nil && *nonRoot && c.UID == 0 {
		t.Fatal("the container must not run as root, and does")
	}
}

// volume returns the directory of a volume, with the owner and modes that the kubelet
// gives it.
func (n *node) volume(t *testing.T, m manifests, pod corev1.PodSpec, v corev1.Volume) string {
	t.Helper()
	group := 0
	if g := pod.SecurityContext.FSGroup; g != nil {
		group = int(*g)
	}
	switch {
	case v.PersistentVolumeClaim != nil:
		dir := filepath.Join(n.root, "claims", v.PersistentVolumeClaim.ClaimName)
		check(t, os.MkdirAll(dir, 0o755))
		if group != 0 {
			check(t, errors.Join(os.Chown(dir, 0, group), os.Chmod(dir, 0o775|fs.ModeSetgid)))
		}
		return dir
	case v.HostPath != nil:
		dir := filepath.Join(n.root, v.HostPath.Path)
		if *v.HostPath.Type == corev1.HostPathDirectoryOrCreate {
			check(t, os.MkdirAll(dir, 0o755))
		}
		return dir
	case v.ConfigMap != nil:
		i := slices.IndexFunc(m.configMaps, func(c corev1.ConfigMap) bool { return c.Name == v.ConfigMap.Name })
		if i < 0 {
			t.Fatalf("there is no config map %s", v.ConfigMap.Name)
		}
		files := make(map[string]string)
		for name, text := range m.configMaps[i].Data {
			files[name] = n.bound(text)
		}
		return writeFiles(t, files, 0o644, group)
	case v.Secret != nil:
		i := slices.IndexFunc(m.secrets, func(s corev1.Secret) bool { return s.Name == v.Secret.SecretName })
		if i < 0 && (v.Secret.Optional == nil || !*v.Secret.Optional) {
			t.Fatalf("there is no secret %s", v.Secret.SecretName)
		}
		files := make(map[string]string)
		if i >= 0 {
			for name, value := range m.secrets[i].Data {
				files[name] = string(value)
			}
		}
		return writeFiles(t, files, fs.FileMode(*v.Secret.DefaultMode), group)
	}
	t.Fatalf("the test knows no volume like %s", v.Name)
	return ""
}

// writeFiles makes a directory of files of root, which a group may read if there is one.
func writeFiles(t *testing.T, files map[string]string, mode fs.FileMode, group int) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	if group != 0 {
		mode |= 0o040
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o600))
		check(t, errors.Join(os.Chown(path, 0, group), os.Chmod(path, mode)))
	}
	return dir
}
