#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# LVM2 end to end on a thin pool, with the tools of your choice as its
# thin_check, thin_repair and thin_dump.  Runs inside umlrun on a blank disk:
#
#   umlrun -d disk.img -- lvm-thin.sh [-c THIN_CHECK] [-r THIN_REPAIR]
#       [-d THIN_DUMP] [-o CHECK_OPTIONS] [-q REPAIR_OPTIONS] [-s]
#
#   -s   the snapshot is another than its origin, and is looked at too
#        (thin_repair 0.9.0 does not survive that)
#
# disk.img: a sparse file of 1 GiB or more.  Tools are wrapped, so that every
# call LVM makes of them is printed with its exit status.
# Exit status 0 only if every step did what it should.

. "$UML_LAB/lab-lib.sh"
check=$(command -v thin_check) repair=$(command -v thin_repair) dump=$(command -v thin_dump)
copts='"-q","--clear-needs-check-flag"' ropts='""' snapshot=0
while getopts c:r:d:o:q:s o; do
	case $o in
	c) check=$OPTARG ;;
	r) repair=$OPTARG ;;
	d) dump=$OPTARG ;;
	o) copts=$OPTARG ;;
	q) ropts=$OPTARG ;;
	s) snapshot=1 ;;
	*) exit 2 ;;
	esac
done
mkdir -p /run/lvm /run/lock/lvm /run/lvmetc /run/wrap
export LVM_SYSTEM_DIR=/run/lvmetc LVM_SUPPRESS_FD_WARNINGS=1
for t in check repair dump; do
	cat >/run/wrap/thin_$t <<W
#!/bin/sh
${!t} "\$@"
rc=\$?
echo "  tool: thin_$t \$* -> \$rc" >>/run/wrap/log
exit \$rc
W
	chmod 755 /run/wrap/thin_$t
done
cat >/run/lvmetc/lvm.conf <<CONF
devices { dir="/dev" scan=["/dev"] filter=["a|/dev/ubd|","r|.*|"] obtain_device_list_from_udev=0 use_devicesfile=0 }
backup { backup=1 archive=0 backup_dir="/run/lvmetc/backup" }
activation { udev_sync=0 udev_rules=0 monitoring=0 verify_udev_operations=1 }
global {
	use_lvmpolld=0
	locking_type=1
	thin_check_executable="/run/wrap/thin_check"
	thin_repair_executable="/run/wrap/thin_repair"
	thin_dump_executable="/run/wrap/thin_dump"
	thin_check_options=[$copts]
	thin_repair_options=[$ropts]
	cache_check_executable=""
}
CONF
bad=0
step() { # WANT COMMAND...
	local want=$1 rc; shift
	: >/run/wrap/log
	echo "\$ $*"
	"$@" >/run/out 2>&1; rc=$?
	sed 's/^/  /' /run/out; cat /run/wrap/log
	case $want/$rc in
	ok/0|any/*) ;;
	fail/0) echo "  UNEXPECTED: it worked"; bad=1 ;;
	fail/*) echo "  failed as it should ($rc)" ;;
	*) echo "  UNEXPECTED: exit $rc"; bad=1 ;;
	esac
}
sum_of() { (cd /run/m && find . -type f -print0 | sort -z | xargs -0 md5sum | md5sum); } # what is mounted
same_files() { # VOLUME SUM: mounted without writing to it
	if [ -b "/dev/vg/$1" ] && mount -o ro,noload "/dev/vg/$1" /run/m 2>/dev/null; then
		[ "$2" = "$(sum_of)" ] && echo "files in $1: as before" || { echo "files in $1: NOT as before"; bad=1; }
		umount /run/m
	else
		echo "$1 cannot be mounted after the repair: nothing of its own was damaged"; bad=1
	fi
}

step ok pvcreate -y /dev/ubda
step ok vgcreate -s 1m vg /dev/ubda
step ok lvcreate -y --type thin-pool -L 400m -c 64k --poolmetadatasize 4m -n pool vg
step ok lvcreate -y -V 1g --thin -n t1 vg/pool
step ok mkfs.ext4 -q -F /dev/vg/t1
step ok mkdir -p /run/m
step ok mount /dev/vg/t1 /run/m
step ok cp -r /usr/share/doc/lvm2 /usr/sbin/lvm /run/m/
sum=$(sum_of) snapsum=$sum
step ok umount /run/m
step ok lvcreate -y -s -n t1snap vg/t1
if [ $snapshot = 1 ]; then
	step ok mount /dev/vg/t1 /run/m
	step ok cp /usr/sbin/dmsetup /run/m/
	step ok rm /run/m/lvm
	sum=$(sum_of)
	step ok umount /run/m
fi
step ok lvs -a -o lv_name,lv_attr,lv_size,data_percent,metadata_percent,transaction_id,thin_id vg
step ok vgchange -an vg
echo "== activation calls thin_check"
step ok vgchange -ay vg
step ok vgchange -an vg

echo "== damage to the metadata, on the physical volume"
start=$(lvs --noheadings --nosuffix --units s -a -o seg_start_pe,seg_pe_ranges vg/pool_tmeta | sed -n 's/.*:\([0-9]*\)-.*/\1/p')
pe=$(pvs --noheadings --nosuffix --units s -o pe_start /dev/ubda | tr -d ' ')
off=$((pe * 512 + start * 1048576))
echo "pool metadata at byte $off of the disk, magic $(u64 /dev/ubda $((off + 32)))"
root=$(u64 /dev/ubda $((off + 320)))
printf '\377\377\377\377' | dd of=/dev/ubda bs=1 seek=$((off + root * 4096 + 40)) conv=notrunc,fsync status=none
blockdev --flushbufs /dev/ubda
echo "flipped bytes in the mapping tree's root, metadata block $root"
step fail vgchange -ay vg
step any lvs -a vg
step any vgchange -an vg
echo "== repair"
step ok lvconvert -y --repair vg/pool
step ok lvs -a -o lv_name,lv_attr,lv_size,data_percent,metadata_percent,transaction_id,thin_id vg
step any vgchange -ay vg
same_files t1 "$sum"
if [ $snapshot = 1 ]; then
	step ok lvchange -ay -K vg/t1snap
	same_files t1snap "$snapsum"
fi
step any vgchange -an vg

echo "== second pool, damage to the data space map"
step ok lvremove -y vg
step ok lvcreate -y --type thin-pool -L 400m -c 64k --poolmetadatasize 4m -n pool vg
step ok lvcreate -y -V 1g --thin -n t1 vg/pool
step ok mkfs.ext4 -q -F /dev/vg/t1
step ok mount /dev/vg/t1 /run/m
step ok cp -r /usr/share/doc/lvm2 /usr/sbin/lvm /run/m/
sum=$(sum_of)
step ok umount /run/m
step ok vgchange -an vg
start=$(lvs --noheadings -a -o seg_pe_ranges vg/pool_tmeta | sed -n 's/.*:\([0-9]*\)-.*/\1/p')
off=$((pe * 512 + start * 1048576))
bm=$(u64 /dev/ubda $((off + 80)))
dd if=/dev/zero of=/dev/ubda bs=4096 count=1 seek=$((off / 4096 + bm)) conv=notrunc,fsync status=none
blockdev --flushbufs /dev/ubda
echo "zeroed the data space map's index, metadata block $bm"
step fail vgchange -ay vg
step any vgchange -an vg
step ok lvconvert -y --repair vg/pool
step ok vgchange -ay vg
same_files t1 "$sum"
step ok lvs -a -o lv_name,lv_attr,lv_size,data_percent,metadata_percent,transaction_id,thin_id vg
step ok vgchange -an vg
step ok vgremove -y -ff vg
errors_in_dmesg | sed 's/^/dmesg: /' | sort | uniq -c | head -20
exit $bad
