package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mirrord/internal/hubsim"
)

// server is a program that serves a blob.
type server struct {
	name    string
	address string // host:port
	path    string // of the blob
	file    string // with the blob
	size    int64
	process *exec.Cmd
}

// start starts a program on the first core.
func (s *server) start(dir, program string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, s.name+".log"))
	if err != nil {
		return err
	}
	s.process = exec.Command("taskset", append([]string{"-c", "0", program}, args...)...)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.process.Start(); err != nil {
		return err
	}
	err = await(func() error {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("%s: %w\n%s", s.name, err, text)
	}
	return err
}

func (s *server) stop() {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	_ = s.process.Wait()
}

// ticks is the kernel's unit for CPU time, as programs see it, in one second.
const ticks = 100

// cpu returns the CPU time of the process and its children.
func (s *server) cpu() (float64, error) {
	own := strconv.Itoa(s.process.Process.Pid)
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	total := 0
	for _, entry := range all {
		raw, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue // not a process, or one that has ended
		}
		// The name of the program, in parentheses, may contain anything.
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if entry.Name() != own && fields[1] != own {
			continue
		}
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		total += user + system
	}
	return float64(total) / ticks, nil
}

// startMirrord starts a mirror that has the blob in its cache.
func startMirrord(o options, dir string) (*server, error) {
	hub, err := hubsim.Start(hubsim.Options{})
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	img, err := hubsim.Layers(1, int64(o.mib)<<20, 1, hubsim.OCI)
	if err != nil {
		return nil, err
	}
	if _, err := hub.AddImage("library/bench", "v1", img); err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	layer := manifest.Layers[0]
	s := &server{name: "mirrord", path: "/v2/library/bench/blobs/" + layer.Digest.String(), size: layer.Size}
	plain, admin, cache := "", "", filepath.Join(dir, "cache")
	for _, address := range []*string{&s.address, &plain, &admin} {
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "mirrord.yaml")
	text := fmt.Sprintf("listen: %s\nadmin: {listen: %s}\ncache: {dir: %s, min_free: 0, scrub: 0}\nquota: {probe: 0}\n"+
		"listeners: [{address: '%s', tls: {cert_file: %s/tls.crt, key_file: %s/tls.key}}]\nupstreams: [{name: docker.io, url: %s}]\n",
		plain, admin, cache, s.address, dir, dir, hub.URL())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := s.start(dir, o.mirrord, "serve", "--config", config); err != nil {
		return nil, err
	}
	hex := layer.Digest.Hex
	s.file = filepath.Join(cache, "blobs", "sha256", hex[:2], hex)
	return s, errors.Join(read("http://"+plain+s.path), await(func() error {
		_, err := os.Stat(s.file)
		return err
	}))
}

// await waits for what a server is about to do.
func await(done func() error) (err error) {
	for range 100 {
		if err = done(); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// read reads a body to its end.
func read(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// startNginx starts nginx with Debian's settings, one worker and no access log.
func startNginx(o options, dir, file string) (*server, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	s := &server{name: "nginx", path: "/" + filepath.Base(file), size: info.Size()}
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`user root;
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 768; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server {
		listen %[2]s ssl http2;
		ssl_certificate %[1]s/tls.crt;
		ssl_certificate_key %[1]s/tls.key;
		ssl_protocols TLSv1.3;
		ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
		ssl_ecdh_curve X25519;
		root %[3]s;
	}
}
`, dir, s.address, filepath.Dir(file))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return s, s.start(dir, o.nginx, "-e", "stderr", "-c", config)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
