#!/bin/sh
# The first process of a guest: mounts what a system has, brings up the network, and runs the program that answers to
# the host. Whatever ends it ends the machine.
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
if grep -q bpfleet.hide_btf /proc/cmdline; then
  mount -t tmpfs -o ro tmpfs /sys/kernel/btf
fi
while read -r module; do modprobe "$module"; done </etc/modules
hostname "$(sed -nE 's/.*bpfleet.name=([^ ]+).*/\1/p' /proc/cmdline)"
ip link set lo up
# No route: a guest reaches this machine's loopback at 10.0.2.2, and nothing else.
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
if grep -q bpfleet.shell /proc/cmdline; then
  setsid cttyhack sh
else
  guest guest
fi
poweroff -f
