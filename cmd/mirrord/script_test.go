package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"mirrord/internal/hubsim"
	"mirrord/test/objectstore"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mirrord": main})
}

// TestScripts runs the real binary as a person does, against a Docker Hub on
// loopback whose counters are asserted. The commands are described in
// testdata/script/README.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setUp,
		Condition: func(condition string) (bool, error) {
			return condition == "root" && os.Getuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   serveCommand,
			"end":     endCommand,
			"hangup":  hangupCommand,
			"get":     getCommand,
			"pull":    pullCommand,
			"hub":     hubCommand,
			"spent":   spentCommand,
			"await":   awaitCommand,
			"refused": refusedCommand,
			"sign":    signCommand(t),
			"status":  statusCommand,
			"hook":    hookCommand,
			"store":   storeCommand,
		},
	})
}

// world is what one script plays with.
type world struct {
	*process
	hub    *hubsim.Hub
	hook   *hook
	store  *objectstore.Store // nil: none was started
	images map[string]string  // digests by name
	mend   []func()           // removes the faults
}

type worldKey struct{}

func setUp(env *testscript.Env) error {
	hub, err := hubsim.Start(hubsim.Options{Limit: 100})
	if err != nil {
		return err
	}
	env.Defer(hub.Close)
	single, err := hubsim.Layers(1, 200_000, 1, hubsim.OCI)
	if err != nil {
		return err
	}
	index, err := hubsim.MultiPlatform(1, hubsim.OCI)
	if err != nil {
		return err
	}
	image, err := hub.AddImage("library/single", "latest", single)
	if err != nil {
		return err
	}
	multi, err := hub.AddIndex("library/multi", "latest", index)
	if err != nil {
		return err
	}
	p, err := newProcess(env.WorkDir)
	if err != nil {
		return err
	}
	h := newHook()
	env.Defer(h.Close)
	w := &world{process: p, hub: hub, hook: h, images: map[string]string{"single": image.String(), "multi": multi.String()}}
	env.Values[worldKey{}] = w
	env.Vars = append(env.Vars,
		"HOME="+env.WorkDir, "HUB="+hub.URL(), "HOOK="+h.URL, "MIRROR="+w.mirror, "ADMIN="+w.admin, "CACHE="+w.cache)
	env.Defer(w.kill)
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// serve [FLAG...] starts the daemon and waits until it is ready.
func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if w.running != nil {
		ts.Fatalf("the daemon runs already")
	}
	if !slices.Contains(args, "--config") { // the file has the upstream
		args = append(args, "--upstream", "name=docker.io,url="+w.hub.URL())
	}
	ts.Check(w.serve(args...))
}

// hangup sends SIGHUP and waits until it has been heeded.
func hangupCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	heeded := func() int {
		return strings.Count(w.text(), "SIGHUP: ") + strings.Count(w.text(), "the configuration cannot be used")
	}
	before := heeded()
	w.signal(syscall.SIGHUP)
	ts.Check(w.poll("SIGHUP", func() bool { return heeded() > before }))
}

// end SIGNAL ends the daemon and puts its log on stderr.
func endCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	signals := map[string]os.Signal{"TERM": terminate, "KILL": os.Kill}
	if len(args) != 1 || signals[args[0]] == nil || w.running == nil {
		ts.Fatalf("usage: end TERM|KILL, with a daemon running")
	}
	err := w.end(signals[args[0]])
	if args[0] == "TERM" && err != nil {
		ts.Fatalf("the daemon ended with %v\n%s", err, w.text())
	}
	_, _ = io.WriteString(ts.Stderr(), w.text())
}

// get [METHOD] [USER:PASSWORD@]PATH sends one request to the mirror and prints status
// line, headers and body; ADMIN in the place of METHOD asks the admin listener.
func getCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	method, host := http.MethodGet, w.mirror
	if len(args) == 2 {
		method, args = args[0], args[1:]
	}
	if method == "ADMIN" {
		method, host = http.MethodGet, w.admin
	}
	if user, path, ok := strings.Cut(args[0], "@/"); ok {
		host, args[0] = user+"@"+host, "/"+path
	}
	req, err := http.NewRequest(method, "http://"+host+args[0], nil)
	ts.Check(err)
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer func() { _ = resp.Body.Close() }()
	_, _ = fmt.Fprintf(ts.Stdout(), "%s %s\n", resp.Proto, resp.Status)
	ts.Check(resp.Header.Write(ts.Stdout()))
	_, err = io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
}

// pull NAME:TAG pulls an image as a client does, checks each digest and prints
// how each answer came.
func pullCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	name, tag, _ := strings.Cut(args[0], ":")
	p := puller{base: "http://" + w.mirror + "/v2/" + name}
	err := p.pull(tag)
	for _, answer := range p.answers {
		_, _ = fmt.Fprintln(ts.Stdout(), answer.via)
	}
	if neg && err == nil {
		ts.Fatalf("pull %s succeeded", args[0])
	}
	if !neg {
		ts.Check(err)
	}
}

// refused ARG... runs the binary, which must end with status 2.
func refusedCommand(ts *testscript.TestScript, neg bool, args []string) {
	statusCommand(ts, neg, append([]string{strconv.Itoa(exitRefused)}, args...))
}

// status N ARG... runs the binary, which must end with that status.
func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("mirrord", args[1:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("ended with %v, want status %s", err, args[0])
	}
}

// hub down|up|reset changes the upstream; hub image NAME:TAG LAYERS SEED adds one; hub fault JSON breaks it, until hub
// mend; hub user NAME PASSWORD makes this its only account.
func hubCommand(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	hub := w.hub
	switch args[0] {
	case "down":
		hub.Down()
	case "up":
		ts.Check(hub.Up())
	case "reset":
		hub.Reset()
	case "user":
		hub.SetUsers(map[string]string{args[1]: args[2]})
	case "private":
		hub.SetPrivate(args[1], args[2])
	case "move":
		moved, err := hubsim.Layers(1, 100_000, 2, hubsim.OCI)
		ts.Check(err)
		_, err = hub.AddImage("library/single", "latest", moved)
		ts.Check(err)
	case "public":
		hub.SetPublic(args[1])
	case "image":
		ts.Check(addImage(hub, args[1], args[2], args[3]))
	case "fault":
		var f hubsim.Fault
		ts.Check(json.Unmarshal([]byte(args[1]), &f))
		w.mend = append(w.mend, hub.Inject(f))
	case "mend":
		for _, remove := range w.mend {
			remove()
		}
	default:
		ts.Fatalf("unknown: hub %s", args[0])
	}
}

// addImage has name, with its tag, name an image of so many layers. Those of one seed have
// layers in common.
func addImage(hub *hubsim.Hub, name, layers, seed string) error {
	n, err := strconv.Atoi(layers)
	if err != nil {
		return err
	}
	s, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	image, err := hubsim.Layers(n, 200_000, s, hubsim.OCI)
	if err != nil {
		return err
	}
	repository, tag, _ := strings.Cut(name, ":")
	_, err = hub.AddImage("library/"+repository, tag, image)
	return err
}

// spent NAME=N... asserts the simulator's counters by their names.
func spentCommand(ts *testscript.TestScript, neg bool, args []string) {
	raw, err := json.Marshal(worldOf(ts).hub.Counters())
	ts.Check(err)
	var counters map[string]any
	ts.Check(json.Unmarshal(raw, &counters))
	for _, arg := range args {
		name, want, _ := strings.Cut(arg, "=")
		got, ok := counters[name]
		if !ok {
			ts.Fatalf("no counter %s", name)
		}
		if fmt.Sprint(got) != want {
			ts.Fatalf("%s is %v, want %s\n%s", name, got, want, raw)
		}
	}
}

// await METRIC VALUE waits until a metric without labels has a value.
func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(worldOf(ts).await(args[0], args[1]))
}
