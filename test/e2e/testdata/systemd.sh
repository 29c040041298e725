# systemd.sh DIR runs systemd as the first process of namespaces of its own, on a copy of
# this machine's root, over which DIR/root is laid. The network is that of the machine.
# Status 77: that is not possible here.
set -eu
hierarchy=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$hierarchy" ] || { echo "there is no cgroup2 file system"; exit 77; }
group=$hierarchy/mirrord-e2e-$$
mkdir "$group" 2>/dev/null || { echo "$hierarchy is read-only"; exit 77; }
echo $$ >"$group/cgroup.procs"
exec unshare --cgroup --pid --mount --uts --ipc --fork --kill-child --mount-proc sh -euc '
	mount --make-rprivate /
	mkdir "$1/over"
	mount -t tmpfs tmpfs "$1/over"
	cd "$1/over"
	mkdir upper work new
	mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work new || { echo "overlayfs cannot be mounted"; exit 77; }
	# Nothing but what the test asks for is started.
	rm -rf new/etc/systemd/system/*.wants new/lib/systemd/system/*.wants
	cp -a "$1/root/." new/
	mount -t proc proc new/proc
	mount --rbind /dev new/dev
	mount -t sysfs sysfs new/sys
	mount -t cgroup2 cgroup2 new/sys/fs/cgroup
	mount -t tmpfs tmpfs new/run
	mount -t tmpfs tmpfs new/tmp
	cd new
	mkdir run/old
	pivot_root . run/old
	umount -l run/old
	mount --make-rshared / # as systemd expects of whoever makes its container: it mounts credentials
	export container=e2e
	exec chroot . /lib/systemd/systemd --unit=e2e.target --log-target=journal --show-status=no
' sh "$1"
