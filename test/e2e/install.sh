#!/bin/sh
# Installs the clients that the end-to-end tests pull with, for Debian 12.
# It does not change what is already installed.
set -eu

die() {
	echo "test/e2e/install.sh: $*" >&2
	exit 1
}

packages=
need() { # package, its commands
	package=$1
	shift
	for program; do
		command -v "$program" >/dev/null 2>&1 && continue
		packages="$packages $package"
		return
	done
}

PATH=$PATH:/usr/sbin:/sbin
need skopeo skopeo
need podman podman
need containerd containerd ctr
need docker.io dockerd docker
need busybox-static busybox
need systemd systemd-socket-activate
need prometheus prometheus promtool
need prometheus-alertmanager prometheus-alertmanager
need debootstrap debootstrap
need rpm rpm
need rpm2cpio rpm2cpio
need cpio cpio
need lintian lintian
need chromium chromium
need npm npm
[ -n "$packages" ] || exit 0

command -v apt-get >/dev/null 2>&1 ||
	die "cannot install$packages: there is no apt-get; install them by hand"
[ "$(id -u)" -eq 0 ] ||
	die "cannot install$packages: not root; run 'sudo sh test/e2e/install.sh'"

# The tests start their own daemons: keep the packages from starting theirs, which
# fails in a container and then fails the installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 1' INT TERM
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

export DEBIAN_FRONTEND=noninteractive
echo "installing$packages" >&2
apt-get update -q || die "apt-get update failed; is there a network?"
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $packages || die "cannot install$packages; see above"
