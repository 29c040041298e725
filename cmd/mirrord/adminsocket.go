package main

import (
	"cmp"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/server"
)

// The modes of sockets: who may connect to one needs no token.
const (
	ownerOnly fs.FileMode = 0o600 // that of admin.listen
	withGroup fs.FileMode = 0o660 // that of admin.socket
)

// socketName is the file of the default admin.socket.
const socketName = "admin.sock"

// unitDirectory is the RuntimeDirectory= of the systemd unit.
const unitDirectory = "/run/mirrord"

// defaultSocket returns the default of admin.socket.
func defaultSocket(cfg *config.Config) string {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	return filepath.Join(cmp.Or(dir, cfg.Cache.Dir), socketName)
}

// socketPath returns the path of the socket beside admin.listen, empty when there is to be
// none, and whether it is the default.
func socketPath(cfg *config.Config) (path string, isDefault bool) {
	switch {
	case cfg.Admin.Socket == config.NoSocket:
		return "", false
	case cfg.Admin.Socket != "":
		return cfg.Admin.Socket, false
	case isSocket(cfg.Admin.Listen):
		return "", true
	}
	return defaultSocket(cfg), true
}

// listenOnSocket listens on admin.socket, where systemd does with its socket. A mirror does
// without the default one if it must: where the path is too long, or the file system has no
// sockets. It returns nil for none.
func listenOnSocket(given map[string]net.Listener, cfg *config.Config, log *zap.Logger) (net.Listener, error) {
	path, isDefault := socketPath(cfg)
	if path == "" {
		return nil, nil
	}
	if l := given["unix:"+path]; l != nil {
		return l, nil
	}
	if isDefault && len(path) > config.MaxSocketPath {
		log.Warn("the path of the admin socket is too long, so there is none; set admin.socket to a shorter one",
			zap.String("path", path), zap.Int("longest", config.MaxSocketPath))
		return nil, nil
	}
	l, err := server.ListenUnix(path, adminSocketKey, withGroup)
	if err != nil && isDefault && !errors.Is(err, server.ErrInUse) {
		log.Warn("there is no admin socket; set admin.socket to a path where one can be made, or to off", zap.Error(err))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}
