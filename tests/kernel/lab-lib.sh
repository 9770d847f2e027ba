# SPDX-License-Identifier: LGPL-2.1-or-later
# Shared by the scripts that run inside the guest; sourced, not run.

DMIO=${UML_LAB:?run this inside umlrun}/dmio.pl
PM=/sys/module/dm_bufio/parameters

say() { echo "$*"; }
dm() { dmsetup --noudevsync --noudevrules "$@"; }

sectors() { blockdev --getsz "$1" 2>/dev/null || echo $(($(cat "/sys/class/block/$(basename "$(readlink -f "$1")")/size"))); }

# u64 FILE OFFSET: one little-endian number out of a metadata block
u64() { od -An -tu8 -j "$2" -N 8 "$1" | tr -d ' '; }

# data_device SPEC: "zero:SECTORS" (a device that swallows what is written and
# reads as zeroes, of any size), or a path.  Prints the device to use.
data_device() {
	case $1 in
	zero:*) dm create "${2:-lab-data}" --table "0 ${1#zero:} zero" || return 1
		echo "/dev/mapper/${2:-lab-data}" ;;
	*) echo "$1" ;;
	esac
}

bufio() { # LABEL
	for _p in current_allocated_bytes peak_allocated_bytes allocated_kmem_cache_bytes \
		allocated_get_free_pages_bytes allocated_vmalloc_bytes max_cache_size_bytes \
		max_age_seconds retain_bytes; do
		read -r _v <$PM/$_p && printf 'bufio %s %s %s\n' "$1" $_p "$_v"
	done
}

# The kernel's log since the machine was ready (all of it if that line has been
# pushed out): errors to /run/errors, other lines of device-mapper to /run/notes
klog() {
	dmesg -x | perl -ne '
		if (/umlrun: ready/) { @e = @n = (); next }
		s/^(\w+) *:(\w+) *: *(\[[^]]*\] *)?// or next;
		if ($2 =~ /^(emerg|alert|crit|err)$/) { push @e, $_ } elsif (/device-mapper/) { push @n, $_ }
		END {
			open F, ">", "/run/errors"; print F @e;
			open F, ">", "/run/notes"; print F @n;
		}'
}
errors_in_dmesg() { klog; cat /run/errors; }
# for the end of the make scripts
print_klog() {
	klog
	echo "dmesg-errors: $(wc -l </run/errors)"
	uniq -c /run/errors | head -20 | sed 's/^/dmesg: /'
	uniq -c /run/notes | head -20 | sed 's/^/dmesg-note: /'
}

# numbers FILE OFFSET:BYTES...: little-endian numbers into $NUMBERS, one process
numbers() {
	NUMBERS=$(perl -e '
		my $f = shift; open my $h, "<", $f or exit; binmode $h; sysread $h, my $b, 4096;
		for (@ARGV) { my ($o, $n) = split /:/; print unpack($n == 4 ? "V" : "Q<", substr $b, $o, $n), " " }' "$@")
}
oneline() { tr '\n' ' ' <"$1"; }

# what the accept scripts share
why=
fail() { why=${why:+$why; }$*; echo "FAIL: $*"; }
verdict() {
	dm remove_all >/dev/null 2>&1
	klog
	if [ -s /run/errors ]; then
		sort /run/errors | uniq -c | sort -rn | head -20 | sed 's/^/dmesg: /'
		why="${why:+$why; }$(wc -l </run/errors) errors in the kernel log"
	fi
	sort -u /run/notes | head -10 | sed 's/^/dmesg-note: /'
	if [ -z "$why" ]; then echo "VERDICT: accepted"; exit 0; fi
	echo "VERDICT: rejected ($why)"
	exit 1
}
