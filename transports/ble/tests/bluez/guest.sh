# Process 1 of the guest: starts a system bus, bluetoothd and two adapters, runs the scenes,
# leaves their status and the logs in /run/rig, and powers off.
set -u
. /run/rig/settings                       # PYTHON, PROJECT, SCENES, TRACE
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
here=$PROJECT/transports/ble/tests/bluez
mkdir -p /run/logs

finish() {                                # STATUS
  cp /run/logs/* /run/rig/logs/
  echo "$1" >/run/rig/status
  sync
  echo o >/proc/sysrq-trigger
  while :; do sleep 1; done
}
fail() { echo "guest: $*" >/dev/vport0p1; finish 125; }
await() { # TIMES COMMAND...              ten times a second
  local times=$1; shift
  until "$@"; do times=$((times - 1)); [ $times -gt 0 ] || return 1; sleep .1; done
}

mkdir -p /dev/shm /dev/pts /var/lib/bluetooth /run/dbus /etc/bluetooth
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /var/lib/bluetooth   # what BlueZ remembers ends with the guest
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
echo bluez-guest >/proc/sys/kernel/hostname
for module in hci_vhci uhid algif_hash algif_skcipher ecb cmac ccm; do
  modprobe $module || echo "guest: no module $module"
done
[ -c /dev/vhci ] || fail "the kernel has no virtual Bluetooth adapters"

dbus-daemon --config-file="$here/bus.conf" --nofork --nopidfile &>/run/logs/dbus.log &
await 300 test -S /run/dbus/system_bus_socket || fail "the system bus does not come up"
echo "$!" >/run/dbus.pid
"$here/bluetoothd.sh"
cd "$PROJECT" || fail "there is no $PROJECT"
"$PYTHON" -m transports.ble.tests.bluez.adapters /run/adapters &>/run/logs/adapters.log &
await 1200 test -e /run/adapters || fail "the adapters do not come up"
[ -z "$TRACE" ] || btmon -w /run/logs/btmon.snoop &>/dev/null &
echo "guest: $(uname -r), $(bluetoothctl --version); up after $(cut -d' ' -f1 /proc/uptime) s" \
  >/dev/vport0p1

mkfifo /run/said                          # a pipe, so that what runs may open its stdout again
cat /run/said >/dev/vport0p1 & printer=$!
"$PYTHON" -m transports.ble.tests.bluez.scenes $SCENES &>/run/said </dev/null
status=$?
await 20 test ! -d /proc/$printer/fd || kill $printer
finish $status
