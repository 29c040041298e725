package doccheck

import (
	"strings"
	"testing"
)

// installBlocks are the blocks of docs/install.md by their first line, with the tests that
// run them, or what they name: the manifests of kubectl, the packages of apt and dnf.
var installBlocks = map[string]string{
	"# /etc/mirrord/mirrord.yaml":                                                          "`TestOfficeOfTheDocs` in cmd/mirrord",
	"# /etc/systemd/system/mirrord.service.d/login.conf":                                   "`TestClientsOfTheOffice` in cmd/mirrord",
	"sudo systemctl daemon-reload && sudo systemctl restart mirrord":                       "`TestSystemd` in test/e2e",
	"# /etc/docker/daemon.json":                                                            "`TestClientsOfTheOffice` in cmd/mirrord",
	"# /etc/containerd/certs.d/docker.io/hosts.toml":                                       "`TestClientsOfTheOffice` in cmd/mirrord, `TestContainerdInstalled` in test/e2e",
	"# /etc/containers/registries.conf.d/mirrord.conf":                                     "`TestClientsOfTheOffice` in cmd/mirrord",
	"# prometheus.yml":                                                                     "`TestClientsOfTheOffice` in cmd/mirrord",
	"curl -s -o /dev/null -D - http://mirror.lan:5000/v2/library/busybox/manifests/latest": "`TestOfficeOfTheDocs` in cmd/mirrord",
	"curl -s http://mirror.lan:5002/metrics | grep mirrord_upstream_login_usable":          "`TestOfficeOfTheDocs` in cmd/mirrord",
	"sudo apt install ./mirrord_0.1.0-1_amd64.deb":                                         "`TestDebianPackage` in test/e2e",
	"mirrord config check /etc/mirrord/mirrord.yaml && sudo systemctl restart mirrord":     "`TestDebianPackage`, `TestSystemd` in test/e2e",
	"sudo dnf install ./mirrord-0.1.0-1.x86_64.rpm":                                        "`TestRPMScripts` in test/e2e",
	"sudo rm -rf /etc/mirrord /var/cache/private/mirrord /var/cache/mirrord /var/lib/private/mirrord /var/lib/mirrord /var/log/private/mirrord /var/log/mirrord": "`TestRPMScripts` in test/e2e",
	"docker load -i mirrord-v0.1.0-linux-amd64-docker.tar": "`TestContainerImage` in test/e2e",
	"cd deploy/compose": "`TestComposeServes` in test/deploy",
	"docker compose run --rm mirrord config check /etc/mirrord/mirrord.yaml && docker compose restart mirrord": "`TestComposeServes` in test/deploy",
	"cd deploy/compose/fleet":                                     "`TestDocumentedComposeFleet` in test/deploy",
	"# deploy/compose/compose.override.yaml":                      "`TestDocumentedCompose` in test/deploy",
	"# deploy/kubernetes/office/kustomization.yaml":               "`TestDocumentedOffice` in test/deploy",
	"# deploy/kubernetes/office/service.yaml":                     "`TestDocumentedOffice` in test/deploy",
	"# deploy/kubernetes/office/mirrord.yaml":                     "`TestDocumentedOffice` in test/deploy",
	"kubectl apply -f deploy/kubernetes/base/namespace.yaml":      "`TestDocumentedOffice` in test/deploy",
	"# deploy/kubernetes/nodes/kustomization.yaml":                "`TestDocumentedNodes` in test/deploy",
	"kubectl apply -k deploy/kubernetes/nodes":                    "`TestDocumentedNodes` in test/deploy",
	"# deploy/kubernetes/fleet-office/kustomization.yaml":         "`TestDocumentedFleets` in test/deploy",
	"# deploy/kubernetes/fleet-office/mirrord.yaml":               "`TestDocumentedFleets` in test/deploy",
	"openssl rand -base64 32 >secret":                             "`TestDocumentedFleets` in test/deploy",
	"# deploy/kubernetes/fleet-nodes/kustomization.yaml":          "`TestDocumentedFleets` in test/deploy",
	"# deploy/kubernetes/fleet-nodes/mirrord.yaml":                "`TestDocumentedFleets` in test/deploy",
	"kubectl apply -f deploy/kubernetes/daemonset/namespace.yaml": "`TestDocumentedFleets` in test/deploy",
	"make build && sudo make install":                             "`TestMakeInstall` in test/e2e",
}

// Every block of the page that says how to install mirrord is run by a test.
func TestInstallBlocksAreRun(t *testing.T) {
	seen := make(map[string]bool)
	for _, first := range blocksOf(readFile(t, "docs", "install.md")) {
		seen[first] = true
		held := heldRE.FindAllStringSubmatch(installBlocks[first], -1)
		if len(held) == 0 {
			t.Errorf("no test runs the block that starts with %q: write one, and name it in installBlocks", first)
		}
		for _, tests := range held {
			for _, name := range testRE.FindAllString(tests[1], -1) {
				if !strings.Contains(testsOf(t, tests[2]), "\nfunc "+name+"(t *testing.T) {") {
					t.Errorf("%q: there is no %s in %s", first, name, tests[2])
				}
			}
		}
	}
	for first := range installBlocks {
		if !seen[first] {
			t.Errorf("installBlocks has %q, which starts no block", first)
		}
	}
}

// blocksOf returns the first line of each block of a page, fenced or indented.
func blocksOf(page string) (first []string) {
	fenced, previous := false, ""
	for line := range strings.Lines(page) {
		line = strings.TrimRight(line, "\n")
		opened := strings.HasPrefix(previous, "```") && fenced
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		} else if opened || !fenced && strings.HasPrefix(line, "    ") && previous == "" {
			first = append(first, strings.TrimSpace(line))
		}
		previous = line
	}
	return first
}
