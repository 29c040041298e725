package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// runComposeFleet runs the object store and the mirrors as docker compose would, until an
// image is pulled through each mirror.
func runComposeFleet(t *testing.T, project *types.Project) {
	t.Helper()
	startHub(t)
	startComposeStore(t, serviceOf(t, project, "s3"))
	names := []string{"mirrord-1", "mirrord-2", "mirrord-3"}
	hosts := "127.0.0.1 s3\n"
	for i, name := range names {
		hosts += fmt.Sprintf("%s %s\n", addressOf(i), name)
	}
	var mirrors []*running
	var last container
	for i, name := range names {
		s := serviceOf(t, project, name)
		c := composeContainer(t, s)
		wantNoListen(t, c.Env)
		own := node{address: addressOf(i)}
		for j, m := range c.Mounts {
			if m.Path == "/etc/mirrord" {
				c.Mounts[j].Source = own.boundCopy(t, m.Source)
			}
		}
		image{root: c.Root}.writeHosts(t, hosts)
		c.Env = append(c.Env, upstream)
		last = c
		c.Env = append(c.Env, own.admin())
		r := c.start(t)
		r.await(t, fmt.Sprintf("http://%s:5002/readyz", own.address))
		healthCheck(c, s).start(t).wait(t, time.Duration(*s.HealthCheck.Timeout))
		mirrors = append(mirrors, r)
	}
	pullThrough(t, addressOf(0), addressOf(1), addressOf(2))
	last.wantMembers(t, names)
	for i, r := range mirrors {
		r.stop(t, time.Duration(*serviceOf(t, project, names[i]).StopGracePeriod))
	}
}

// boundCopy copies a directory of files, with the address of a container for all of them.
func (n *node) boundCopy(t *testing.T, dir string) string {
	t.Helper()
	copied := t.TempDir()
	check(t, os.Chmod(copied, 0o755))
	files, err := os.ReadDir(dir)
	check(t, err)
	for _, f := range files {
		info, err := f.Info()
		check(t, err)
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		check(t, err)
		path := filepath.Join(copied, f.Name())
		check(t, os.WriteFile(path, []byte(n.bound(string(text))), 0o600))
		copyOwner(t, path, info)
	}
	return copied
}

// startComposeStore runs the object store, whose image is not of this repository, from its
// program alone.
func startComposeStore(t *testing.T, s types.ServiceConfig) {
	t.Helper()
	if len(s.Ports) > 0 {
		t.Errorf("the object store is open at %v", s.Ports)
	}
	root := t.TempDir()
	check(t, os.Chmod(root, 0o755))
	program, err := os.ReadFile(filepath.Join(prepared, storeProgram))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(root, storeProgram), program, 0o755))
	c := container{Root: root, ReadOnlyRoot: s.ReadOnly, Args: append([]string{"/" + storeProgram}, s.Command...)}
	c.Mounts = []mount{{"/proc", "/proc", false}} // by which it names the files that it has open
	for name, value := range s.Environment {
		c.Env = append(c.Env, name+"="+*value)
	}
	for _, v := range s.Volumes {
		c.Mounts = append(c.Mounts, mount{t.TempDir(), v.Target, v.ReadOnly})
	}
	c.start(t)
	awaitStore(t)
}

// TestComposeFleet checks that the mirrors differ in nothing but their names, ports and
// volumes, that the object store is the tested one, and that no secret is a default.
func TestComposeFleet(t *testing.T) {
	t.Setenv("S3_SECRET", storeSecret)
	project := loadCompose(t, composeDir+"/fleet/compose.yaml")
	var published []string
	for _, name := range []string{"mirrord-1", "mirrord-2", "mirrord-3"} {
		s := serviceOf(t, project, name)
		if s.Image != imageName {
			t.Errorf("the image is %s, want %s", s.Image, imageName)
		}
		if got := *s.Environment["MIRRORD_FLEET_ADVERTISE"]; got != name+":5003" || *s.Environment["MIRRORD_FLEET_NODE"] != name {
			t.Errorf("%s says that it is at %s", name, got)
		}
		if time.Duration(*s.StopGracePeriod) <= drainTime {
			t.Errorf("the grace period %v is not longer than the drain", s.StopGracePeriod)
		}
		for _, p := range s.Ports {
			published = append(published, p.Published)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume && v.Source != strings.Replace(name, "mirrord", "cache", 1) {
				t.Errorf("%s has the volume %s", name, v.Source)
			}
		}
	}
	if want := []string{"5000", "5010", "5020"}; !slices.Equal(published, want) {
		t.Errorf("the ports are %v, want %v", published, want)
	}
	tools, err := os.ReadFile(filepath.Join(repository, "test/tools/go.mod"))
	check(t, err)
	_, version, _ := strings.Cut(serviceOf(t, project, "s3").Image, ":")
	if !strings.Contains(string(tools), "github.com/versity/versitygw "+version+" ") {
		t.Errorf("the object store is versitygw %s, which is not the one that is tested", version)
	}
	if err := os.Unsetenv("S3_SECRET"); err != nil {
		t.Fatal(err)
	}
	if _, err := tryCompose(t, composeDir+"/fleet/compose.yaml"); err == nil {
		t.Error("it starts without a secret")
	}
}
