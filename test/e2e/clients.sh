#!/bin/sh
# Downloads the newest clients for the end-to-end tests, beside those of Debian 12
# that install.sh installs: the packages of a newer Debian, unpacked into a directory
# of their own in which the tests run them; and what is pinned here, built from the Go
# module proxy: clients, a registry, a CA, and the conformance suite of the OCI; and what
# looks for barriers in web pages, from npm. Nothing is installed on the machine.
#
# An unavailable package is recorded in the file "missing", which the tests
# report; a pinned module that cannot be built is an error.
set -eu

# Debian's suites change; the tests print the versions that ran.
suite=sid
packages="buildah containerd cosign docker-cli docker.io podman skopeo"

# Pinned versions: the package and version of each program. All are built from a module
# of their own, because BuildKit's does not allow "go install".
programs="
github.com/distribution/distribution/v3/cmd/registry@v3.1.2
github.com/google/go-containerregistry/cmd/crane@v0.22.1
github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3
github.com/moby/buildkit/cmd/buildctl@v0.34.2
github.com/moby/buildkit/cmd/buildkitd@v0.34.2
github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111
github.com/regclient/regclient/cmd/regctl@v0.11.7
oras.land/oras/cmd/oras@v1.3.6
"

say() { echo "test/e2e/clients.sh: $*" >&2; }

dir=${E2E_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/mirrord-e2e}
mkdir -p "$dir/bin"
: >"$dir/missing"

build() { # package@version
	name=${1##*/}
	name=${name%@*}
	[ "$(cat "$dir/bin/$name.version" 2>/dev/null)" = "$1" ] && return
	say "building $1"
	module=$(mktemp -d)
	(
		cd "$module"
		export CGO_ENABLED=0 GOFLAGS=-mod=mod
		go mod init clients && go get "$1" && go build -trimpath -o "$dir/bin/$name" "${1%@*}"
	) >"$module/log" 2>&1 || { tail -n 20 "$module/log" >&2; say "cannot build $1"; exit 1; }
	rm -rf "$module"
	echo "$1" >"$dir/bin/$name.version"
}
for program in $programs; do
	build "$program"
done

# What looks for barriers in the status page, of npm's registry.
axe=axe-core-4.14.1
axe_sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
if [ ! -e "$dir/$axe.js" ]; then
	say "fetching $axe"
	(
		cd "$(mktemp -d)"
		npm pack --silent "${axe%-*}@${axe##*-}" && echo "$axe_sha512  $axe.tgz" | sha512sum --check --quiet &&
			tar -xzOf "$axe.tgz" package/axe.min.js >axe.js && mv axe.js "$dir/$axe.js"
		rm -rf "$PWD"
	) >&2 || { say "cannot fetch $axe"; exit 1; }
	[ -e "$dir/$axe.js" ] || { say "cannot fetch $axe"; exit 1; }
fi

apt=$dir/apt
rm -rf "$apt/archives" # apt does not list what it has downloaded
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: >"$apt/status" # nothing is installed: the packages come with all they need

# The archive is that of this machine's apt, which knows its origin only
# after an update.
archive() {
	command -v apt-get >/dev/null 2>&1 || return 0
	apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian main //p' | grep -v security | head -n 1
}
archive=$(archive)
if [ -z "$archive" ] && command -v apt-get >/dev/null 2>&1; then
	apt-get -q update >/dev/null 2>&1 || true
	archive=$(archive)
fi
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main" >"$apt/sources.list"
cat >"$apt/apt.conf" <<EOF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Acquire::Languages "none";
APT::Install-Recommends "false";
#clear APT::Update::Post-Invoke;
EOF
get() { APT_CONFIG=$apt/apt.conf apt-get -q -y "$@" </dev/null; }

# files lists the files to unpack for some packages.
files() { get --print-uris install "$@" 2>/dev/null | sed -n "s/^'[^']*' \([^ ]*\.deb\) .*/\1/p" | sort; }

none() { # why
	say "$1"
	for package in $packages; do
		echo "$package: $1" >>"$dir/missing"
	done
	rm -rf "$dir/root"
	exit 0
}

[ -n "$archive" ] || none "apt knows no archive of Debian"
get update >"$apt/log" 2>&1 || { tail -n 5 "$apt/log" >&2; none "Debian $suite is not available"; }

# In a changing suite a package may be uninstallable at times: then each package is
# tried by itself, and the others are installed without it.
# shellcheck disable=SC2086 # a list of words
files $packages >"$apt/wanted"
if [ ! -s "$apt/wanted" ]; then
	wanted=
	for package in $packages; do
		if [ -n "$(files "$package")" ]; then
			wanted="$wanted $package"
		else
			say "Debian $suite has no $package that can be installed"
			echo "$package: not installable in Debian $suite" >>"$dir/missing"
		fi
	done
	packages=$wanted
	# shellcheck disable=SC2086 # a list of words
	files $packages >"$apt/wanted"
	[ -s "$apt/wanted" ] || none "not installable in Debian $suite"
fi
cmp -s "$apt/wanted" "$dir/root/unpacked" && exit 0

say "unpacking Debian $suite's $packages"
# shellcheck disable=SC2086 # a list of words
get install --download-only $packages >"$apt/log" 2>&1 || { tail -n 5 "$apt/log" >&2; none "Debian $suite cannot be downloaded"; }
rm -rf "$dir/root"
mkdir -p "$dir/root/usr/bin" "$dir/root/usr/sbin" "$dir/root/usr/lib" "$dir/root/usr/lib64"
cd "$dir/root"
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
mkdir -p dev etc proc root run sys tmp var/tmp
while read -r deb; do
	dpkg-deb -x "$apt/archives/$deb" .
done <"$apt/wanted"
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
: >etc/hosts # the tests mount theirs over it
cp "$apt/wanted" unpacked
rm -rf "$apt/archives"
