#!/bin/busybox sh
# The guest's first program. Its root becomes memory, over the fetched packages, over the host's
# files; both of those are read-only.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in $($b cat /order); do $b insmod "/modules/$module" || echo "no module $module"; done
shared() { $b mount -t 9p -o "trans=virtio,version=9p2000.L,msize=262144,$3" "$1" "$2"; }
shared host /host cache=loose,ro || echo "no host"
shared packages /packages cache=loose,ro || echo "no packages"
$b mount -t tmpfs tmpfs /memory
$b mkdir /memory/upper /memory/work
$b mount -t overlay -o lowerdir=/packages:/host,upperdir=/memory/upper,workdir=/memory/work \
  overlay /new || echo "no root"
$b mount -t tmpfs tmpfs /new/run
$b mkdir /new/run/rig
shared rig /new/run/rig cache=none || echo "no rig"
for one in dev proc sys; do $b mount --move /$one /new/$one; done
exec $b switch_root /new /bin/bash /run/rig/guest.sh
