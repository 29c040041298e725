package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fileBlock is a block of a document whose first line names the file that it is.
var fileBlock = regexp.MustCompile("(?ms)^```yaml\n# deploy/([^\n]+)\n(.*?)^```$")

// documented returns the files below a directory of deploy/ that docs/install.md has.
func documented(t *testing.T, dir string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs/install.md"))
	check(t, err)
	files := make(map[string]string)
	for _, found := range fileBlock.FindAllStringSubmatch(string(text), -1) {
		if filepath.Dir(found[1]) == dir {
			files[filepath.Base(found[1])] = found[2]
		}
	}
	if len(files) == 0 {
		t.Fatalf("docs/install.md has no files in deploy/%s", dir)
	}
	return files
}

// TestDocumentedOffice runs the Deployment of docs/install.md, with its login.
func TestDocumentedOffice(t *testing.T) {
	files := documented(t, "kubernetes/office")
	files["mirrord.yaml"] = strings.Replace(files["mirrord.yaml"], "name: docker.io\n", "name: docker.io\n    url: "+hub+"\n", 1)
	m := build(t, files)
	wantDocumented(t, m)
	if s := m.services[0]; s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		t.Errorf("service %s is a %s", s.Name, s.Spec.Type)
	}
	m.secrets = append(m.secrets, corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "mirrord-logins"},
		Data:       map[string][]byte{"hub-password": []byte("secret\n")},
	})
	n := newNode(t)
	startHub(t, "--user", "example=secret")
	r := n.run(t, m)
	pull(t, registry, "library/demo", "20layers")
	pod := m.pod(t).Spec
	n.container(t, m, pod, pod.Containers[0]).command(t, "/mirrord", "quota")
	if _, metrics := get(t, "http://127.0.0.1:5002/metrics"); !strings.Contains(string(metrics), `mirrord_upstream_login_usable{credential="login",upstream="docker.io"} 1`) {
		t.Error("the login is not used")
	}
	r.stop(t, grace(t, m))
}

// TestDocumentedNodes runs the DaemonSet of docs/install.md.
func TestDocumentedNodes(t *testing.T) {
	m := build(t, documented(t, "kubernetes/nodes"))
	wantDocumented(t, m)
	n := newNode(t)
	startHub(t)
	r := n.run(t, m, upstream)
	pull(t, n.mirrorOf(t, "docker.io"), "library/demo", "20layers")
	r.stop(t, grace(t, m))
}

// createSecret is a command of a document: the namespace, and the files of the Secret.
var createSecret = regexp.MustCompile(`(?m)^    kubectl -n (\S+) create secret generic mirrord-fleet((?: --from-file=\S+)+)$`)

// TestDocumentedFleets runs the fleets of docs/install.md, with the Secret that it creates.
func TestDocumentedFleets(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "docs/install.md"))
	check(t, err)
	secrets := make(map[string]corev1.Secret)
	for _, found := range createSecret.FindAllStringSubmatch(string(page), -1) {
		secrets[found[1]] = secretOfFleet(strings.Split(found[2], " --from-file=")[1:]...)
	}
	for _, dir := range []string{"fleet-office", "fleet-nodes"} {
		t.Run(dir, func(t *testing.T) {
			needRoot(t)
			files := documented(t, "kubernetes/"+dir)
			files["mirrord.yaml"] = strings.NewReplacer(
				"  - docker.io\n", "  - {name: docker.io, url: '"+hub+"'}\n",
				"https://s3.eu-central-1.amazonaws.com", startStore(t),
				"acme-mirror", storeBucket, "eu-central-1", "us-east-1\n    path_style: true", "AKIAIOSFODNN7EXAMPLE", storeKey,
			).Replace(files["mirrord.yaml"])
			m := build(t, files)
			wantDocumented(t, m)
			m.secrets = append(m.secrets, secrets[m.namespaces[0].Name])
			startHub(t)
			runFleet(t, m)
		})
	}
}

// TestDocumentedComposeFleet runs the three mirrors of docs/install.md with the secrets that
// it makes.
func TestDocumentedComposeFleet(t *testing.T) {
	needRoot(t)
	page, err := os.ReadFile(filepath.Join(repository, "docs/install.md"))
	check(t, err)
	_, block, _ := strings.Cut(string(page), "\n    cd deploy/compose/fleet\n")
	block, _, _ = strings.Cut(block, "    docker compose up -d --wait\n")
	dir := filepath.Join(t.TempDir(), "fleet")
	check(t, os.CopyFS(dir, os.DirFS(filepath.Join(composeDir, "fleet"))))
	make := exec.Command("sh", "-ec", strings.ReplaceAll(block, "sudo ", ""))
	make.Dir = dir
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	runComposeFleet(t, loadCompose(t, filepath.Join(dir, "compose.yaml")))
}

// wantDocumented checks that manifests are valid and have the image of the document.
func wantDocumented(t *testing.T, m manifests) {
	t.Helper()
	for _, problem := range conforming(t)(t, m.text) {
		t.Error(problem)
	}
	pod := m.pod(t).Spec
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if want := "registry.example/" + imageName; c.Image != want {
			t.Errorf("%s has the image %s, want %s", c.Name, c.Image, want)
		}
	}
}

// TestDocumentedCompose checks that the file that opens the port replaces the other one.
func TestDocumentedCompose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "compose.override.yaml")
	check(t, os.WriteFile(path, []byte(documented(t, "compose")["compose.override.yaml"]), 0o644))
	ports := loadCompose(t, composeFile, path).Services["mirrord"].Ports
	if len(ports) != 1 || ports[0].HostIP != "" || ports[0].Published != "5000" || ports[0].Target != 5000 {
		t.Errorf("the ports are %v", ports)
	}
}
