package main

import (
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"mirrord/internal/config"
)

const (
	groupAndOthers fs.FileMode = 0o077
	others         fs.FileMode = 0o007
)

// warnOfSecrets warns of secrets that others may read, in files or on the network.
func warnOfSecrets(cfg *config.Config, doors []door, log *zap.Logger) {
	warnReadable(secretFiles(cfg), log)
	warnPlain(cfg, doors, log)
}

// secretFile is a file with a secret of the configuration.
type secretFile struct {
	setting string
	path    string
	closed  fs.FileMode // to these
}

// secretFiles returns the files with secrets that the configuration names.
func secretFiles(cfg *config.Config) []secretFile {
	var files []secretFile
	add := func(setting, path string, closed fs.FileMode) {
		if path != "" && !strings.HasPrefix(path, unitCredentials) {
			files = append(files, secretFile{setting, path, closed})
		}
	}
	add(adminTokenFileKey, cfg.Admin.TokenFile, groupAndOthers)
	for _, l := range cfg.AllListeners() {
		add("key_file", l.TLS.KeyFile, groupAndOthers)
		add("tokens", l.Auth.Tokens, groupAndOthers)
		add("htpasswd", l.Auth.Htpasswd, others) // hashes, which a group may need
	}
	add("fleet.s3.secret_key_file", cfg.Fleet.S3.SecretKeyFile, groupAndOthers)
	add("fleet.secret_file", cfg.Fleet.SecretFile, groupAndOthers)
	for _, w := range cfg.Notify {
		add("notify.secret_file", w.SecretFile, groupAndOthers)
		add("notify.headers_file", w.HeadersFile, groupAndOthers)
	}
	for _, u := range cfg.Upstreams {
		add("client_key_file", u.ClientKeyFile, groupAndOthers)
		for _, c := range u.Credentials {
			add("password_file", c.PasswordFile, groupAndOthers)
			add("docker_config", c.DockerConfig, groupAndOthers)
		}
	}
	return files
}

// warnReadable warns of secrets that others on this machine may read, with what to do.
// A file that belongs to another user may be readable by its group: that is how the
// mirror reads it.
func warnReadable(files []secretFile, log *zap.Logger) {
	for _, f := range files {
		info, err := os.Stat(f.path)
		if err != nil {
			continue // whoever reads it reports that
		}
		closed := f.closed
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
			closed = others
		}
		if info.Mode().Perm()&closed == 0 {
			continue
		}
		command := "chmod go= " + f.path
		if closed == others {
			command = "chmod o= " + f.path
		}
		log.Warn("other users of this machine may read a file with secrets", zap.String("setting", f.setting),
			zap.String("file", f.path), zap.Stringer("mode", info.Mode().Perm()), zap.String("run", command))
	}
}

// warnPlain warns of listeners to which clients send passwords in clear text.
func warnPlain(cfg *config.Config, doors []door, log *zap.Logger) {
	for i, l := range cfg.AllListeners() {
		host, _, _ := net.SplitHostPort(l.Address) // it is valid
		if !l.Auth.HasLogin() || doors[i].certificates.Config() != nil || len(cfg.Clients.TrustedProxies) > 0 || net.ParseIP(host).IsLoopback() {
			continue
		}
		log.Warn("clients send passwords and tokens over plain HTTP: whoever is on the line can read them; give the listener tls or acme", zap.String("listen", l.Address))
	}
}
