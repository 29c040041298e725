// Package cosign verifies the signatures that cosign makes of images with a key pair, in
// both of its formats. It reads no registry.
package cosign
