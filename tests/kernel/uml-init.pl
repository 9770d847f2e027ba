#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
# pid 1 of the machine that umlrun boots.  Needs perl-base only.  One process
# does all the setting up, because starting one costs 50 ms in there.
use strict;
use warnings;

# x86-64 system calls and ioctls
my ($MOUNT, $SETHOSTNAME, $FINIT_MODULE, $REBOOT, $FSYNC) = (165, 170, 313, 169, 74);
my ($TCGETS, $TCSETS, $TCSBRK) = (0x5401, 0x5402, 0x5409);

sub fsync_close { my $fh = shift; $fh->flush if $fh->can('flush'); syscall($FSYNC, fileno $fh); close $fh }

sub power_off {		# STATUS FILE TTY...: at once, no sync, nothing closed
	my ($status, $file, @tty) = @_;
	if (open my $f, '>', $file) {
		syswrite $f, "$status\n";
		fsync_close($f);
	}
	for my $t (@tty) {	# let what was printed get out
		open my $f, '>', $t or next;
		ioctl $f, $TCSBRK, 1;
	}
	syscall($REBOOT, 0xfee1dead, 672274793, 0x4321fedc, 0);
	sleep 1 while 1;
}

my @tty = ('/dev/tty1', '/dev/tty2');
if (@ARGV and $ARGV[0] eq '--halt') {	# --halt STATUSFILE [STATUS]
	power_off($ARGV[2] // 0, $ARGV[1], @tty);
}

open STDIN, '<', '/dev/null';
chdir '/';
sub mount {
	my ($type, $dir, $flags, $opts) = @_;
	my $src = 'none';
	return syscall($MOUNT, $src, $dir, $type, $flags, $opts) == 0;
}
sub mkdirs {
	my $d = '';
	for (grep { length } split m{/}, $_[0]) { $d .= "/$_"; mkdir $d, 0755 }
}
sub hostdir {		# put a host directory where it is on the host
	my ($d, $ro) = @_;
	mkdirs($d);
	mount('hostfs', $d, $ro ? 1 : 0, "$d") or warn "umlrun: $d not mounted: $!\n";
}

my %c = (expose => [], wdir => [], env => [], cmd => []);
(my $here = $0) =~ s{/[^/]*$}{};
{
	open my $f, '<', "$here/conf" or die "no configuration: $!";
	local $/;
	my @kv = split /\0/, <$f>, -1;
	while (@kv >= 2) {
		my ($k, $v) = splice @kv, 0, 2;
		if (ref $c{$k}) { push @{$c{$k}}, $v } else { $c{$k} = $v }
	}
}
my $x = "$c{work}/x";

mount('proc', '/proc', 0, '');
mount('sysfs', '/sys', 0, '');
mkdir "/dev/$_" for qw(pts shm);
mount('devpts', '/dev/pts', 0, '');
for my $d (qw(/dev/shm /tmp /run /var /mnt)) {
	mount('tmpfs', $d, 0, 'mode=1777') if -d $d and not -l $d;
}
mkdirs($_) for qw(/run/lock /run/uml/lib /var/tmp /var/lib /var/log /var/cache);
symlink "/proc/self/fd", "/dev/fd";
symlink "/proc/self/fd/$_->[1]", "/dev/$_->[0]" for [stdin => 0], [stdout => 1], [stderr => 2];
symlink '/run', '/var/run';
symlink '/run/lock', '/var/lock';
{	# host directories that one of those covers, and the writable ones
	my %m = map { $_ => 1 } grep { m{^/(dev/shm|tmp|run|var|mnt)(/|$)} } @{$c{expose}};
	$m{$_} = 0 for @{$c{wdir}}, $x;
	hostdir($_, $m{$_}) for sort { length $a <=> length $b } keys %m;
}
{ my $n = 'uml'; syscall($SETHOSTNAME, $n, 3) }

if (open my $f, '>', '/run/uml/halt') {
	print $f "#!/bin/sh\nexec '$c{lab}/uml-init.pl' --halt '$x/status' \"\$@\"\n";
	close $f;
	chmod 0755, '/run/uml/halt';
}

# modules, straight from modules.dep: needs no kmod and no /lib/modules
if ($c{mods} =~ /\S/) {
	open my $f, '<', '/proc/sys/kernel/osrelease' or die;
	chomp(my $rel = <$f>);
	my $dir = "$c{moddir}/$rel";
	my (%dep, %done);
	if (open my $d, '<', "$dir/modules.dep") {
		while (<$d>) {
			my ($file, $n, $deps) = m{^((?:\S*/)?([^/\s]+)\.ko\S*):\s*(.*)} or next;
			$n =~ tr/-/_/;
			$dep{$n} = [$file, reverse split ' ', $deps];
		}
	} else {
		warn "umlrun: no modules in $dir\n";
	}
	my $load = sub {
		my ($file) = @_;
		return if $done{$file}++;
		open my $m, '<', "$dir/$file" or return warn "umlrun: $dir/$file: $!\n";
		my $p = '';
		syscall($FINIT_MODULE, fileno $m, $p, 0) == 0 or $!{EEXIST}
			or warn "umlrun: module $file: $!\n";
	};
	for my $m (split ' ', $c{mods}) {
		(my $n = $m) =~ tr/-/_/;
		my $e = $dep{$n} or do { warn "umlrun: no module $m\n"; next };
		my ($file, @deps) = @$e;
		$load->($_) for @deps, $file;
	}
}
if (open my $k, '>', '/dev/kmsg') { syswrite $k, "umlrun: ready\n" }

# raw terminals: no \n -> \r\n
for my $t (@tty) {
	open my $f, '+<', $t or next;
	my $b = "\0" x 64;
	ioctl $f, $TCGETS, $b or next;
	my @w = unpack 'L4', $b;
	$w[1] &= ~1;		# OPOST
	$w[3] &= ~(2 | 8);	# ICANON ECHO
	substr $b, 0, 16, pack 'L4', @w;
	ioctl $f, $TCSETS, $b;
}

my $pid = fork;
if (!$pid) {
	%ENV = (PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
		HOME => '/root', LC_ALL => 'C', TERM => 'dumb', UML => 1,
		UML_LAB => $c{lab}, UML_HALT => '/run/uml/halt', UML_STATUS => "$x/status", DM_DISABLE_UDEV => 1);
	for (@{$c{env}}) { /^([^=]+)=(.*)$/s and $ENV{$1} = $2 }
	chdir $c{cwd} or chdir '/';
	my @cmd = @{$c{cmd}};
	unshift @cmd, '/bin/sh' if $cmd[0] =~ m{/} and not -x $cmd[0];
	open STDOUT, '>', $tty[0];
	open STDERR, '>', $tty[1];
	exec { $cmd[0] } @cmd or do { print STDERR "$cmd[0]: $!\n"; exit 127 };
}
$SIG{ALRM} = sub { power_off(124, "$x/status", @tty) };
alarm $c{limit};
my $rc = 127;
while ((my $p = wait) != -1) {
	next if $p != $pid;
	$rc = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	last;
}
chdir '/';
power_off($rc, "$x/status", @tty);
