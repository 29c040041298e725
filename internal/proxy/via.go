package proxy

import (
	"net/http"

	"mirrord/internal/oci"
)

// viaHeader tells the client where the response came from, see oci.Via.
const viaHeader = "X-Mirrord-Cache"

// cacheStatuses are the same in the terms of RFC 9211. What bypasses the cache was not
// in it and is not stored.
var cacheStatuses = map[oci.Via]string{
	oci.Hit:         "mirrord; hit",
	oci.Known:       "mirrord; hit; detail=digest-only",
	oci.Revalidated: "mirrord; fwd=stale; fwd-status=200; detail=revalidated",
	oci.Fill:        "mirrord; fwd=miss; stored",
	oci.Pass:        "mirrord; fwd=miss",
	oci.Stale:       "mirrord; hit; detail=stale",
	oci.Shared:      "mirrord; fwd=miss; stored; detail=shared",
	oci.Peer:        "mirrord; fwd=miss; stored; detail=peer",
}

// setVia sets the headers that say where the response comes from.
func setVia(header http.Header, via oci.Via) {
	header.Set(viaHeader, string(via))
	header.Set("Cache-Status", cacheStatuses[via])
}
