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
for file in sbin/bufio-bench sbin/bufio-check sbin/bufio-copy sbin/bufio-dump sbin/bufio-repair sbin/bufio-restore lib/libbufio.a \
	include/bufio/bufio.h include/bufio/bufio_device.h \
	include/bufio/dm-bufio.h lib/pkgconfig/bufio.pc \
	share/man/man8/bufio-check.8 share/man/man8/bufio-copy.8 share/man/man8/bufio-dump.8 \
	share/man/man8/bufio-repair.8 share/man/man8/bufio-restore.8 share/man/man3/bufio.3 \
	share/man/man5/bufio-pack.5 share/man/man5/bufio-script.5; do
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

# The example of dm-bufio.h the same way, at both levels.
{
	printf '#include <dm-bufio.h>\nint main(void)\n{\n'
	awk '/^ \*\t/ { sub(/^ \*\t/, ""); print; n++; next } n && /^ \* / { exit }' "$root$prefix/include/bufio/dm-bufio.h"
	printf '\treturn error;\n}\n'
} >kernel.c
sed 's/NULL, NULL)/NULL, NULL, 0)/' kernel.c >kernel-60000.c
truncate -s 1M pool_tmeta
for level in "" -60000; do
	eval "${CC:-cc} -Wall -Wextra -Werror ${level:+-DDM_BUFIO_API=60000} -o kernel kernel$level.c $flags" >messages 2>&1
	is $? 0 "the example of dm-bufio.h compiles and links with pkg-config alone${level:+, level 60000}"
	./kernel >output 2>messages
	is $? 0 "and runs"
done
is "$(od -An -tx1 -j $((7 * 4096 + 100)) -N1 pool_tmeta)" " 01" "and writes"

stands_alone() { # HEADER LANGUAGE COMPILER...
	header=$1 language=$2
	shift 2
	echo "#include <$header>" | eval "$* -Wall -Wextra -Wpedantic -Werror -fsyntax-only $flags -" 2>messages
	is $? 0 "$header stands alone as $language"
}

for std in c99 gnu11 c17; do
	stands_alone bufio.h $std "${CC:-cc}" -std=$std -xc
	stands_alone dm-bufio.h $std "${CC:-cc}" -std=$std -xc
	stands_alone dm-bufio.h "$std, level 60000" "${CC:-cc}" -std=$std -DDM_BUFIO_API=60000 -xc
done
if command -v g++ >/dev/null; then
	stands_alone bufio.h C++ g++ -xc++
	stands_alone dm-bufio.h C++ g++ -xc++
	stands_alone dm-bufio.h "C++, level 60000" g++ -DDM_BUFIO_API=60000 -xc++
else
	skip "g++ is not installed to try the headers as C++"
fi

make -s -C "$builddir" uninstall DESTDIR="$root" >messages 2>&1
is $? 0 "make uninstall"
is "$(find "$root" -type f -o -type l | wc -l)" 0 "leaves nothing behind"
finish
