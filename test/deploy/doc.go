// Package deploy tests deploy/compose and deploy/kubernetes without Docker and without a
// cluster: the manifests are built, held against the schemas of Kubernetes, and run as
// processes, in the root file system of the image, with the volumes, users and limits that
// they ask for. It is a module of its own, so that mirrord's does not need the libraries.
package deploy
