#!/bin/sh
# The first process of a guest. The kernel hands over JOB, the job directory as the host names it; everything else is
# in its file `settings`. The root directory is the host's, read-only.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/run/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
for place in /run /mnt; do mount -t tmpfs tmpfs $place; done
mkdir -p /run/tmp /run/job /run/lock /mnt/share /mnt/disk
mount -t hostfs none /run/job -o "$JOB"
. /run/job/settings

end() {
    dmesg >/run/job/dmesg
    echo "$1" >/run/job/code
    cd /
    umount /mnt/share 2>/dev/null || umount -l /mnt/share 2>/dev/null
    umount /mnt/disk 2>/dev/null
    sync
    busybox poweroff -f
}

# Modules are looked for by the kernel's version, in a place that belongs to the host's kernel.
if ! mount -t tmpfs tmpfs /lib/modules; then
    echo "the host has no directory /lib/modules to mount on" >/run/job/stderr
    end 125
fi
ln -s "/usr/lib/uml/modules/$(uname -r)" "/lib/modules/$(uname -r)"

hostname "guest$GUEST"
ip link set lo up
ip address add "$ADDRESS/24" dev vec0
ip link set vec0 up

if [ -n "$DISK" ]; then
    modprobe ext4 2>/dev/null
    mount -t ext4 /dev/ubda /mnt/disk >/run/job/mounting 2>&1 || end 124
fi
if [ "$TYPE" = nfs ]; then
    mount -t tmpfs tmpfs /var/lib/nfs
    modprobe nfs
    modprobe nfsv3
    modprobe nfsv4
    # Guests share a host name's worth of identity otherwise, and a server would take them for one client.
    echo "guest$GUEST-$(cat /proc/sys/kernel/random/uuid)" >/sys/module/nfs/parameters/nfs4_unique_id
    echo Y >/sys/module/nfs/parameters/nfs4_disable_idmapping
elif [ "$TYPE" = cifs ]; then
    modprobe cifs
fi
if [ -n "$TYPE" ]; then
    mount -t "$TYPE" -o "$OPTIONS" "$SOURCE" /mnt/share >/run/job/mounting 2>&1 || end 124
    grep ' /mnt/share ' /proc/mounts >/run/job/mounted
    cd /mnt/share || end 124
fi
bash /run/job/script </dev/null >/run/job/stdout 2>/run/job/stderr
end $?
