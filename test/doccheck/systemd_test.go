package doccheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units are verified with a program that exists in the place of the one that
// is not installed here.
func TestSystemdUnits(t *testing.T) {
	const program = "/usr/local/bin/mirrord"
	unit := readFile(t, "deploy", "systemd", "mirrord.service")
	if strings.Count(unit, "ExecStart="+program+" ") != 1 {
		t.Fatalf("the unit does not start %s, which make install replaces", program)
	}
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here to verify the units with")
	}
	dir := t.TempDir()
	standIn := filepath.Join(dir, "mirrord")
	if err := os.WriteFile(standIn, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"verify", "--man=no"}
	for _, name := range []string{"mirrord.service", "mirrord.socket"} {
		unit := strings.ReplaceAll(readFile(t, "deploy", "systemd", name), program, standIn)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(unit), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out, err := exec.Command(verify, args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// What the service may do is worth no more than 1.1 of 10 points to an attacker.
func TestSystemdExposure(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here to rate the unit with")
	}
	path := filepath.Join(root, "deploy", "systemd", "mirrord.service")
	out, err := exec.Command(analyze, "security", "--offline=yes", "--threshold=11", "--no-pager", path).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The sample configuration names only what the shipped unit may read and write.
func TestSampleWorksUnderTheUnit(t *testing.T) {
	cfg := loadSample(t)
	unit := readFile(t, "deploy", "systemd", "mirrord.service")
	if _, name, ok := strings.Cut(cfg.Cache.Dir, "/var/cache/"); !ok || !strings.Contains(unit, "\nCacheDirectory="+name+"\n") {
		t.Errorf("cache.dir is %s, where the unit may not write", cfg.Cache.Dir)
	}
	if !strings.Contains(unit, "\nConfigurationDirectory=mirrord\n") {
		t.Error("the unit does not read /etc/mirrord/mirrord.yaml")
	}
	for _, u := range cfg.Upstreams {
		for _, c := range u.Credentials {
			if c.PasswordFile == "" {
				continue
			}
			name, ok := strings.CutPrefix(c.PasswordFile, "/run/credentials/mirrord.service/")
			if !ok || !strings.Contains(readFile(t, "docs", "troubleshooting.md"), "\nLoadCredential="+name+":/") {
				t.Errorf("password_file is %s, which the user of the unit may not read", c.PasswordFile)
			}
		}
	}
}
