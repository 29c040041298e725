// Command tls compares what TLS costs mirrord and nginx: CPU time for each GiB of a
// cached blob, and for each handshake. Both serve the same file with the same certificate
// over TLS 1.3 with AES-128-GCM and X25519, each on one core, one after the other in pairs.
//
// CPU time is that of the server's processes from /proc: unlike a rate it does not
// depend on the client, and little on what else the machine does.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// options are the flags.
type options struct {
	mirrord, nginx string
	pairs          int
	mib            int
	gib            int
	handshakes     int
	run            string
}

func main() {
	var o options
	flag.StringVar(&o.mirrord, "mirrord", "bin/mirrord", "the `program` to measure")
	flag.StringVar(&o.nginx, "nginx", "/usr/sbin/nginx", "the `program` to compare it with")
	flag.IntVar(&o.pairs, "pairs", 5, "how many times each is measured")
	flag.IntVar(&o.mib, "mib", 256, "size of the blob")
	flag.IntVar(&o.gib, "gib", 4, "how much is read in one measurement")
	flag.IntVar(&o.handshakes, "handshakes", 4000, "how many there are in one measurement")
	flag.StringVar(&o.run, "run", "", "measure only what matches this `regexp`")
	flag.Parse()
	if err := pin(); err != nil {
		fail(err)
	}
	if err := run(o); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench/tls:", err)
	os.Exit(1)
}

// pinned is set in the environment of the process that runs on its own core.
const pinned = "BENCH_PINNED"

// pin starts this program again on the second core, and ends with it: the servers get
// the first.
func pin() error {
	if os.Getenv(pinned) != "" {
		return nil
	}
	again := exec.Command("taskset", append([]string{"-c", "1"}, os.Args...)...)
	again.Env = append(os.Environ(), pinned+"=1")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	if err := again.Run(); err != nil {
		return fmt.Errorf("run on a core of its own, which needs two and taskset: %w", err)
	}
	os.Exit(0)
	return nil
}

func run(o options) error {
	dir, err := os.MkdirTemp("", "bench-tls-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	roots, err := writeCertificate(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return err
	}
	mirror, err := startMirrord(o, dir)
	if err != nil {
		return err
	}
	defer mirror.stop()
	web, err := startNginx(o, dir, mirror.file)
	if err != nil {
		return err
	}
	defer web.stop()
	return compare(o, client{roots}, mirror, web)
}

// kinds are the measurements, each of which returns seconds of CPU for one unit.
func kinds(o options, c client) []kind {
	bytes := int64(o.gib) << 30
	return []kind{
		{"ms a GiB, HTTP/1.1", 1e3, func(s *server) (float64, error) { return float64(o.gib), c.read(s, bytes, false) }},
		{"ms a GiB, HTTP/2", 1e3, func(s *server) (float64, error) { return float64(o.gib), c.read(s, bytes, true) }},
		{"us a full handshake", 1e6, func(s *server) (float64, error) { return float64(o.handshakes), c.shake(s, o.handshakes, false) }},
		{"us a resumed handshake", 1e6, func(s *server) (float64, error) { return float64(o.handshakes), c.shake(s, o.handshakes, true) }},
	}
}
