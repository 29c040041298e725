#!/bin/sh
# Makes trees of Debian with systemd, beside the clients of clients.sh, in copies of which
# the tests install packages. One that is there is used again.
#
# A suite that the mirror of this machine's apt does not have is recorded in the file
# "missing", which the tests report.
set -eu

dir=${E2E_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/mirrord-e2e}
archive=$(sed -n 's/^deb \[[^]]*\] \([^ ]*\) .*/\1/p' "$dir/apt/sources.list")

make_tree() { # suite
	tree=$dir/debian-$1
	[ -d "$tree" ] && return
	echo "test/e2e/trees.sh: making a tree of Debian $1" >&2
	rm -rf "$tree.new"
	if ! debootstrap --variant=minbase --include=ca-certificates,procps,systemd "$1" "$tree.new" "$archive" >"$tree.log" 2>&1; then
		tail -n 5 "$tree.log" >&2
		echo "debian-$1: cannot be had from $archive" >>"$dir/missing"
		return
	fi
	rm -rf "$tree.new"/var/cache/apt/*.bin "$tree.new"/var/cache/apt/archives/*.deb "$tree.new"/var/lib/apt/lists/* "$tree.new"/usr/share/doc/*
	mv "$tree.new" "$tree"
}

make_tree bookworm &
make_tree trixie
wait
