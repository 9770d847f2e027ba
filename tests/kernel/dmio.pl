#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
# Direct block I/O for the lab: one small request per block, in the order
# given, so the order in which the kernel sees them is known.  perl-base only.
#
#   dmio.pl w   DEV BLOCKBYTES SPEC...     write one 4 KiB page in each block
#   dmio.pl r   DEV BLOCKBYTES SPEC...     read one page of each block
#   dmio.pl d   DEV BLOCKBYTES SPEC...     discard (each run of blocks at once)
#   options before the verb:
#     -t TAG       text put at the start of each written page
#     -z SIZE      bytes a request moves (default 4096)
#     -h STATUS    cut the power at once when done (inside umlrun)
#     -c           r: fail unless the page starts with "TAG:BLOCK:"
#     -k           go on after an error
# SPEC: seq:BEGIN:LEN | stride:BEGIN:STEP:COUNT | rand:SEED:COUNT:RANGE
#       | file:PATH:KEY  (lines "KEY BEGIN LEN")
#       | DEV@  (go on with this device; then give - as the first)
# rand gives COUNT different blocks of 0..RANGE-1 in a random order.
# Prints "N done, E errors".
use strict;
use warnings;
my ($tag, $size, $halt, $check, $keep) = ('', 4096);
while (@ARGV and $ARGV[0] =~ /^-(.)$/) {
	shift;
	if ($1 eq 't') { $tag = shift }
	elsif ($1 eq 'z') { $size = shift }
	elsif ($1 eq 'h') { $halt = shift }
	elsif ($1 eq 'c') { $check = 1 }
	elsif ($1 eq 'k') { $keep = 1 }
	else { die "dmio: bad option -$1\n" }
}
my ($verb, $dev, $bs, @spec) = @ARGV;
die "usage: see the head of dmio.pl\n" unless @spec and $verb =~ /^[wrd]$/;

my $O_DIRECT = 0x4000;
my $buf = "\0" x ($size + 8192);
my $off = 4096 - unpack('J', pack 'P', $buf) % 4096;	# O_DIRECT wants alignment
my ($n, $err, $first, $fh, $bad) = (0, 0, '');

sub runs {		# SPEC -> [begin, len]...
	local $_ = shift;
	return [$1, $2] if /^seq:(\d+):(\d+)$/;
	return map { [$1 + $_ * $2, 1] } 0 .. $3 - 1 if /^stride:(\d+):(\d+):(\d+)$/;
	my @r;
	if (/^rand:(\d+):(\d+):(\d+)$/) {
		my ($seed, $count, $range) = ($1, $2, $3);
		die "dmio: $count blocks of $range\n" if $count > $range;
		srand $seed;
		my %seen;
		while ($count) {
			my $b = int rand $range;
			next if $seen{$b}++;
			push @r, [$b, 1];
			$count--;
		}
	} elsif (/^file:(.*):([^:]*)$/) {
		my $key = $2;
		open my $f, '<', $1 or die "dmio: $1: $!\n";
		while (<$f>) { push @r, [$2, $3] if /^(\S+)\s+(\d+)\s+(\d+)/ and $1 eq $key }
	} else { die "dmio: bad range $_\n" }
	return @r;
}
sub open_device {
	$dev = shift;
	sysopen $fh, $dev, ($verb eq 'r' ? 0 : 2) | ($verb eq 'd' ? 0 : $O_DIRECT)
		or die "dmio: $dev: $!\n";
}
sub report {
	print "$dev: " if @_;
	print "$n done, $err errors", ($first ? " ($first)" : ''), "\n";
	$bad ||= $err;
	($n, $err, $first) = (0, 0, '');
}
sub bad { my ($b, $why) = @_; $err++; $first ||= "block $b: $why" }
sub request {		# one block
	my $b = shift;
	sysseek $fh, $b * $bs, 0;
	my $got;
	if ($verb eq 'w') {
		my $text = "$tag:$b:";
		substr $buf, $off, length($text) + 1, "$text\n";
		$got = syswrite $fh, $buf, $size, $off;
	} else {
		$got = sysread $fh, $buf, $size, $off;
		if ($check and $got and substr($buf, $off, length("$tag:$b:")) ne "$tag:$b:") {
			bad($b, 'holds "' . (substr($buf, $off, 32) =~ /^([ -~]*)/)[0] . '"');
		}
	}
	if (!$got or $got != $size) { bad($b, "$!") } else { $n++ }
}

my $several = $dev eq '-';
open_device($dev) unless $several;
my $opened = 0;
SPEC: for my $s (@spec) {
	if ($s =~ /^(.*)\@\z/) {
		report(1) if $opened++;
		open_device($1);
		next;
	}
	for my $r (runs($s)) {
		my ($begin, $len) = @$r;
		if ($verb eq 'd') {
			my $arg = pack 'QQ', $begin * $bs, $len * $bs;
			if (defined ioctl $fh, 0x1277, $arg) { $n += $len } else { bad($begin, "$!") }
			last SPEC if $err and not $keep;
			next;
		}
		for my $b ($begin .. $begin + $len - 1) {
			request($b);
			last SPEC if $err and not $keep;
		}
	}
}
if (defined $halt) {	# what $UML_HALT does, without the time a new process takes
	$| = 1;
	print "$n done, $err errors, power cut\n";
	if (open my $f, '>', $ENV{UML_STATUS}) { syswrite $f, "$halt\n"; syscall(74, fileno $f); close $f }
	syscall(169, 0xfee1dead, 672274793, 0x4321fedc, 0);
	sleep 1 while 1;
}
report($several ? 1 : ());
exit($bad ? 1 : 0);
