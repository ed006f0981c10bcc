#!/bin/bash
# In the guest: starts bluetoothd, as Debian configures it, in the background.
. /run/rig/settings
/usr/libexec/bluetooth/bluetoothd -n ${TRACE:+-d} </dev/null &>>/run/logs/bluetoothd.log &
echo -n $! >/run/bluetoothd.pid
