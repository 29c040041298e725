#!/bin/sh
# Prints the version of this checkout in the form of semver: the tag of the commit, or
# between tags a pre-release of the next patch, such as v0.3.2-dev.5+gcafe123, five commits
# after v0.3.1. Local changes add ".dirty".
set -eu
cd "$(dirname "$0")/.."

commit=$(git rev-parse --short=10 HEAD 2>/dev/null) || {
	echo v0.0.0-unknown
	exit
}
tag=$(git describe --tags --match 'v[0-9]*.[0-9]*.[0-9]*' --abbrev=0 2>/dev/null) || tag=
if [ -n "$tag" ]; then
	since=$(git rev-list --count "$tag..HEAD")
else
	since=$(git rev-list --count HEAD)
fi
dirty=
[ -z "$(git status --porcelain --untracked-files=no)" ] || dirty=.dirty

case $tag in
'') next=v0.0.0-dev ;;
*-*) next=$tag.dev ;; # after v0.4.0-rc.1, before v0.4.0-rc.2
*) next=${tag%.*}.$((${tag##*.} + 1))-dev ;;
esac
if [ -n "$tag" ] && [ "$since$dirty" = 0 ]; then
	echo "$tag"
else
	echo "$next.$since+g$commit$dirty"
fi
