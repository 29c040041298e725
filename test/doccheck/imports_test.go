package doccheck

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "mirrord/"

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string // by its own files, tests apart
	Deps       []string // and all that these need
}

func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", "./...")
	command.Dir = root
	out, err := command.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %v\n%s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	packages := make(map[string]listed)
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// within reports whether path is the package or below it.
func within(path, pkg string) bool {
	return path == pkg || strings.HasPrefix(path, pkg+"/")
}

func withinAny(path string, pkgs []string) bool {
	return slices.ContainsFunc(pkgs, func(pkg string) bool { return within(path, pkg) })
}

// ours says which others of the module's packages a package and those below it
// may import.
var ours = map[string][]string{
	"internal/oci":          nil,
	"internal/proxy":        {"internal/oci", "internal/route"},
	"internal/route":        {"internal/oci"},
	"internal/access":       {"internal/oci", "internal/cosign"},
	"internal/membership":   {"internal/oci", "internal/call", "internal/negative"},
	"internal/cosign":       nil,
	"internal/server":       nil,
	"internal/acme":         nil,
	"internal/admin":        {"internal/oci", "internal/archive", "internal/cache", "internal/doctor", "internal/fleet/roster", "internal/fleet/sweep", "internal/health", "internal/images", "internal/notify", "internal/ratelimit", "internal/retention", "internal/route", "internal/status", "internal/tags", "internal/upstream", "internal/warm"},
	"internal/images":       {"internal/oci", "internal/cache", "internal/route", "internal/tagrule", "internal/tags"},
	"internal/retention":    {"internal/oci", "internal/cache", "internal/images", "internal/tags"},
	"internal/archive":      {"internal/oci", "internal/cache", "internal/images", "internal/route", "internal/tags"},
	"internal/cache":        {"internal/oci", "internal/call", "internal/health", "internal/journal", "internal/negative"},
	"internal/tags":         {"internal/oci", "internal/call", "internal/health", "internal/journal", "internal/negative", "internal/cache/lru"},
	"internal/call":         {"internal/oci"},
	"internal/negative":     {"internal/oci", "internal/cache/lru"},
	"internal/health":       nil,
	"internal/journal":      nil,
	"internal/index":        {"internal/oci", "internal/fleet", "internal/cache", "internal/tags", "internal/membership", "internal/retention"},
	"internal/stack":        {"internal/fleet", "internal/membership", "internal/route", "internal/oci", "internal/cache", "internal/tags", "internal/health", "internal/login", "internal/ratelimit", "internal/upstream"},
	"internal/ratelimit":    {"internal/oci"},
	"internal/upstream":     {"internal/oci", "internal/ratelimit"},
	"internal/warm":         {"internal/oci", "internal/schedule"},
	"internal/schedule":     nil,
	"internal/notify":       {"internal/oci"},
	"internal/status":       {"internal/oci"},
	"internal/fleet":        {"internal/oci", "internal/call", "internal/ratelimit"},
	"internal/clientconfig": nil,
	"internal/login":        nil,
	"internal/doctor":       {"internal/oci", "internal/fleet/bucket", "internal/fleet/fleetprobe", "internal/ratelimit", "internal/upstream"},
	"internal/tagrule":      nil,
	"internal/config":       {"internal/schedule", "internal/tagrule"},
	"internal/hubsim":       nil,
	"internal/telemetry":    {"internal/fleet", "internal/membership", "internal/oci", "internal/access", "internal/proxy", "internal/cache", "internal/tags", "internal/health", "internal/ratelimit", "internal/upstream", "internal/warm"},
	"internal/tracing":      {"internal/oci", "internal/proxy", "internal/cache", "internal/upstream"},
	"internal/cache/lru":    {"internal/oci"}, // the policy knows no cache
	"internal/cache/spool":  {"internal/oci"},
}

func TestOwnImports(t *testing.T) {
	packages := listPackages(t)
	for pkg, allowed := range ours {
		if _, ok := packages[module+pkg]; !ok {
			t.Errorf("there is no package %s any more: mend the rule", pkg)
		}
		for path, p := range packages {
			if !within(path, module+pkg) {
				continue
			}
			for _, imported := range p.Imports {
				name, own := strings.CutPrefix(imported, module)
				if own && !within(name, pkg) && !withinAny(name, allowed) {
					t.Errorf("%s imports %s; %s may import %v", path, name, pkg, allowed)
				}
			}
		}
	}
}

// others says who may import a library; one that is not here is anybody's.
// Tests are not asked.
var others = map[string][]string{
	"github.com/dgraph-io":                   {"internal/index"},
	"github.com/hashicorp/golang-lru":        {"internal/fleet", "internal/images", "internal/cache/lru", "internal/upstream", "internal/ratelimit", "internal/membership", "internal/access", "internal/status"},
	"github.com/sigstore":                    {"internal/cosign"},
	"golang.org/x/crypto/bcrypt":             {"internal/access"},
	"github.com/coreos/go-oidc":              {"internal/access"},
	"github.com/pires/go-proxyproto":         {"internal/server"},
	"github.com/santhosh-tekuri/jsonschema":  nil, // tests only
	"github.com/go-jose":                     nil, // tests only
	"github.com/google/go-containerregistry": {"internal/upstream", "internal/login", "internal/hubsim", "cmd/hubsim"},
	"github.com/docker/cli":                  {"internal/login"},
	"github.com/bmatcuk/doublestar":          {"internal/tagrule", "internal/access", "internal/config", "internal/images"},
	"github.com/prometheus":                  {"internal/telemetry"},
	"github.com/netresearch/go-cron":         {"internal/schedule"},
	"github.com/Masterminds/semver":          {"internal/warm"},
	"github.com/caddyserver/certmagic":       {"internal/acme"},
	"github.com/tidwall":                     {"internal/clientconfig"},
	"github.com/minio/minio-go":              {"internal/fleet/bucket/s3"},
	"github.com/mholt/acmez":                 {"internal/acme"},
	"go.opentelemetry.io":                    {"internal/tracing"},
	"go.uber.org/zap":                        {"internal/telemetry", "internal/acme", "cmd"}, // certmagic wants a logger of zap
	"github.com/Shopify/toxiproxy":           nil,                                            // tests only
	"github.com/rs/zerolog":                  nil,
	"github.com/chromedp":                    nil,
}

func TestLibraries(t *testing.T) {
	for path, p := range listPackages(t) {
		name, own := strings.CutPrefix(path, module)
		if !own {
			continue
		}
		for _, imported := range p.Imports {
			for library, allowed := range others {
				if within(imported, library) && !withinAny(name, allowed) {
					t.Errorf("%s imports %s; only %v may", name, imported, allowed)
				}
			}
		}
	}
}

// The vocabulary has the standard library and two small ones.
func TestVocabulary(t *testing.T) {
	packages := listPackages(t)
	p, ok := packages[module+"internal/oci"]
	if !ok {
		t.Fatal("there is no package internal/oci")
	}
	for _, dep := range p.Deps {
		if packages[dep].Standard || within(dep, "github.com/opencontainers/go-digest") || within(dep, "github.com/opencontainers/image-spec") {
			continue
		}
		t.Errorf("internal/oci needs %s", dep)
	}
}

// The cache knows no HTTP, not even through what it imports; its index does,
// through badger.
func TestCacheKnowsNoHTTP(t *testing.T) {
	packages := listPackages(t)
	for _, pkg := range []string{"internal/oci", "internal/cache", "internal/cache/disk", "internal/cache/lru"} {
		if slices.Contains(packages[module+pkg].Deps, "net/http") {
			t.Errorf("%s needs net/http", pkg)
		}
	}
	if slices.Contains(packages[module+"internal/index"].Imports, "net/http") {
		t.Error("internal/index imports net/http")
	}
}
