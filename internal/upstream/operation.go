package upstream

import (
	"context"
	"net/http"
)

// Operation is the purpose of a request to the upstream. The set is closed, so it can
// be a metric label.
type Operation string

const (
	Ping           Operation = "ping"
	Token          Operation = "token"
	ManifestHead   Operation = "manifest_head"
	ManifestGet    Operation = "manifest_get"
	BlobHead       Operation = "blob_head"
	BlobGet        Operation = "blob_get"
	ListOperation  Operation = "list"
	OtherOperation Operation = "other"
)

type operationKey struct{}

// withOperation marks requests, the hops of their redirects included, as made for op.
func withOperation(ctx context.Context, op Operation) context.Context {
	return context.WithValue(ctx, operationKey{}, op)
}

// OperationOf returns the purpose of a request that a Registry has sent.
func OperationOf(req *http.Request) Operation {
	if op, ok := req.Context().Value(operationKey{}).(Operation); ok {
		return op
	}
	return OtherOperation
}
