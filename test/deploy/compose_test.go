package deploy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

const (
	composeDir  = repository + "/deploy/compose"
	composeFile = composeDir + "/compose.yaml"
)

// loadCompose reads files as docker compose does, with the file .env beside the first.
func loadCompose(t *testing.T, files ...string) *types.Project {
	t.Helper()
	project, err := tryCompose(t, files...)
	check(t, err)
	return project
}

func tryCompose(t *testing.T, files ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithProfiles([]string{"metrics"}), cli.WithOsEnv, cli.WithEnvFiles(), cli.WithDotEnv)
	check(t, err)
	return options.LoadProject(t.Context())
}

// service returns a service of the file of one mirror.
func service(t *testing.T, name string) types.ServiceConfig {
	t.Helper()
	return serviceOf(t, loadCompose(t, composeFile), name)
}

// serviceOf returns a service, with what is the same for all of them checked.
func serviceOf(t *testing.T, project *types.Project, name string) types.ServiceConfig {
	t.Helper()
	s, err := project.GetService(name)
	check(t, err)
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) || s.Privileged {
		t.Errorf("%s may do more than it needs", name)
	}
	for _, p := range s.Ports {
		if p.HostIP != "127.0.0.1" {
			t.Errorf("port %s of %s is open to other hosts at %q", p.Published, name, p.HostIP)
		}
	}
	return s
}

// TestComposeServes runs the mirror as docker compose would: it becomes healthy, an image
// is pulled through it, it writes nowhere but into its volume, and ends in time.
func TestComposeServes(t *testing.T) {
	needRoot(t)
	s := service(t, "mirrord")
	if s.Image != imageName {
		t.Errorf("the image is %s, want %s", s.Image, imageName)
	}
	startHub(t)
	c := composeContainer(t, s)
	wantNoListen(t, c.Env)
	unhealthy := healthCheck(c, s).start(t)
	if err := <-unhealthy.ended; err == nil {
		t.Error("the mirror is healthy before it runs")
	}
	c.Env = append(c.Env, upstream)
	r := c.start(t)
	r.await(t, "http://127.0.0.1:5002/readyz")
	healthCheck(c, s).start(t).wait(t, time.Duration(*s.HealthCheck.Timeout))
	c.command(t, "/mirrord", "config", "check", "/etc/mirrord/mirrord.yaml") // as docker compose run does
	pull(t, "http://127.0.0.1:"+s.Ports[0].Published, "library/demo", "20layers")
	r.stop(t, time.Duration(*s.StopGracePeriod))
}

// composeContainer makes the container of a service of the image.
func composeContainer(t *testing.T, s types.ServiceConfig) container {
	t.Helper()
	i := unpackImage(t)
	c := i.container(t)
	c.Args = i.command(s.Entrypoint, s.Command)
	c.Env = slices.Clone(c.Env)
	c.ReadOnlyRoot = s.ReadOnly
	for name, value := range s.Environment {
		c.Env = append(c.Env, name+"="+*value)
	}
	for _, v := range s.Volumes {
		source := v.Source
		if v.Type == types.VolumeTypeVolume {
			source = i.newVolume(t, v.Target)
		}
		c.Mounts = append(c.Mounts, mount{source, v.Target, v.ReadOnly})
	}
	return c
}

// newVolume makes a volume, which has the owner and the mode of what the image has there.
func (i image) newVolume(t *testing.T, target string) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	if info, err := os.Stat(filepath.Join(i.root, target)); err == nil {
		copyOwner(t, dir, info)
	}
	return dir
}

// copyOwner gives path the owner and the mode of another.
func copyOwner(t *testing.T, path string, of os.FileInfo) {
	t.Helper()
	owner := of.Sys().(*syscall.Stat_t)
	check(t, errors.Join(os.Chown(path, int(owner.Uid), int(owner.Gid)), os.Chmod(path, of.Mode())))
}

// healthCheck returns a process like what Docker runs in the container c.
func healthCheck(c container, s types.ServiceConfig) container {
	c.Args = s.HealthCheck.Test[1:] // after CMD
	return c
}

// TestComposeGrace checks the time to drain.
func TestComposeGrace(t *testing.T) {
	if s := service(t, "mirrord"); time.Duration(*s.StopGracePeriod) <= drainTime {
		t.Errorf("the grace period %v is not longer than the drain", s.StopGracePeriod)
	}
}

// TestComposeIsScraped checks that Prometheus asks where the mirror serves metrics.
func TestComposeIsScraped(t *testing.T) {
	var prometheus struct {
		ScrapeConfigs []struct {
			JobName       string `json:"job_name"`
			StaticConfigs []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	var mirror struct {
		Metrics struct{ Listen string } `json:"metrics"`
	}
	readYAML(t, filepath.Join(composeDir, "config/mirrord.yaml"), &mirror)
	for _, v := range service(t, "prometheus").Volumes {
		if v.Type == types.VolumeTypeBind {
			readYAML(t, v.Source, &prometheus)
		}
	}
	job := prometheus.ScrapeConfigs[0]
	if got, want := job.StaticConfigs[0].Targets[0], "mirrord:5002"; got != want || mirror.Metrics.Listen != "0.0.0.0:5002" || job.JobName != "mirrord" {
		t.Errorf("%s scrapes %s of a mirror at %s", job.JobName, got, mirror.Metrics.Listen)
	}
}

func readYAML(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	check(t, yaml.Unmarshal(text, to))
}
