#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is installed can be used by someone who knows only pkg-config and the manual, and can be taken away again.
. "$srcdir/tests/tap.sh"

if [ "${SANITIZERS:-no}" != no ]; then
	skip "an instrumented library is not for installing"
	finish
	exit
fi
root=$tap_dir/root
make -s -C "$builddir" install DESTDIR="$root" >messages 2>&1
is $? 0 "make install DESTDIR=..."
prefix=$(sed -n 's/^prefix=//p' "$builddir/bufio.pc")
for file in sbin/bufio-dump lib/libbufio.a include/bufio/bufio.h include/bufio/bufio_device.h lib/pkgconfig/bufio.pc \
	share/man/man8/bufio-dump.8 share/man/man3/bufio.3; do
	ok "$([ -f "$root$prefix/$file" ] && echo 1)" "installs $file"
done

# The example of bufio(3), with what pkg-config says and nothing else.
sed -n '/^\.\\" example-begin/,/^\.\\" example-end/p' "$srcdir/man/bufio.3" |
	sed -e '/^\./d' -e 's/\\e/\\/g' -e 's/\\&//g' -e 's/\\-/-/g' >example.c
ok "$([ "$(wc -l <example.c)" -ge 10 ] && echo 1)" "bufio(3) has an example"
flags=$(PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root pkg-config --cflags --libs bufio)
eval "${CC:-cc} -Wall -Wextra -Werror -o example example.c $flags" >messages 2>&1 # pkg-config escapes blanks
is $? 0 "the example compiles and links with pkg-config --cflags --libs bufio alone"
./example >output 2>messages
is $? 0 "and runs"
ok "$([ -s output ] && echo 1)" "and prints something"
for std in c99 c17; do
	echo '#include <bufio.h>' | eval "${CC:-cc} -std=$std -pedantic -Wall -Wextra -Werror -fsyntax-only -xc $flags -" 2>messages
	is $? 0 "bufio.h stands alone as $std"
done
if command -v g++ >/dev/null; then
	echo '#include <bufio.h>' | eval "g++ -Wall -Wextra -Werror -fsyntax-only -xc++ $flags -" 2>messages
	is $? 0 "bufio.h stands alone as C++"
else
	skip "g++ is not installed to try bufio.h as C++"
fi

make -s -C "$builddir" uninstall DESTDIR="$root" >messages 2>&1
is $? 0 "make uninstall"
is "$(find "$root" -type f -o -type l | wc -l)" 0 "leaves nothing behind"
finish
