package admin

import (
	"context"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// WithPeer returns a context for the requests of a connection, in which Action finds the user
// who connected. It is the ConnContext of the servers that serve Handler.
func WithPeer(ctx context.Context, conn net.Conn) context.Context {
	if socket, ok := conn.(*net.UnixConn); ok {
		if uid, err := peerUID(socket); err == nil {
			return context.WithValue(ctx, peerKey{}, uid)
		}
	}
	return ctx
}

// peerUID returns the user of the process that connected to a unix socket, at the time when it
// connected.
func peerUID(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if controlErr != nil {
		return 0, controlErr
	}
	if err != nil {
		return 0, err
	}
	return peer.Uid, nil
}

// peerOf returns the user who sends a request over a unix socket, and the name of that user:
// nil and empty when they are not known. It may ask a directory service of this host.
func peerOf(ctx context.Context) (uid *uint32, name string) {
	id, ok := ctx.Value(peerKey{}).(uint32)
	if !ok {
		return nil, ""
	}
	if found, err := user.LookupId(strconv.FormatUint(uint64(id), 10)); err == nil {
		name = found.Username
	}
	return &id, name
}
