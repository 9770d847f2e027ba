#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Unusual but good XML gives the metadata of the plain form. What is only written in another way gives the same image,
# from a file and through a pipe; what is put in another order, or said in other elements, gives the same flat XML.

here=$srcdir/tests/restore
. "$srcdir/tests/tap.sh"

flat() { # IMAGE
	bufio-dump --format=xml --flat "$1"
}

healthy() { # IMAGE NAME
	if command -v thin_check >/dev/null; then
		thin_check "$1" >messages 2>&1
		is $? 0 "$2: thin_check finds nothing"
	else
		skip "$2: thin_check is not installed"
	fi
}

restore() { # XML IMAGE NAME
	rm -f "$2"
	bufio-restore -i "$1" -o "$2" >messages 2>&1
	is $? 0 "$3: restored"
}

# pool.xml is the plain form in other letters.
same_image() { # NAME
	cmp -s pool.xml plain.xml
	is $? 1 "$1: it is written in another way"
	restore pool.xml pool.img "$1"
	is "$(cmp plain.img pool.img 2>&1)" "" "$1: the same image"
	rm -f pipe.img
	truncate -s "$(stat -c %s plain.img)" pipe.img
	cat pool.xml | bufio-restore -i - -o pipe.img >messages 2>&1
	is "$? $(cmp plain.img pipe.img 2>&1)" "0 " "$1: the same through a pipe"
}

# pool.xml has what is in the flat XML $2.
same_flat() { # NAME FLAT
	restore pool.xml pool.img "$1"
	flat pool.img >pool.flat 2>messages
	same "$2" pool.flat "$1: the same mappings"
	healthy pool.img "$1"
}

# Lines of a file in another order.
lines() { # FILE RANGE...
	text=$1
	shift
	for range; do
		sed -n "${range}p" "$text"
	done
}

used_blocks() { # IMAGE
	bufio-dump -q --json "$1" | sed -n 's/.*"metadata_used_blocks":\([0-9]*\).*/\1/p'
}

cp "$here/good.xml" plain.xml
restore plain.xml plain.img "plain"
healthy plain.img "plain"
cat >plain.want <<-END
	<superblock uuid="0123456789abcdef0123456789abcdef" time="2" transaction="5" flags="0" version="2" data_block_size="128" nr_data_blocks="1000">
	  <device dev_id="1" mapped_blocks="22" transaction="0" creation_time="0" snap_time="2">
	    <single_mapping origin_block="0" data_block="100" time="0"/>
	    <range_mapping origin_begin="1" data_begin="10" length="9" time="1"/>
	    <range_mapping origin_begin="20" data_begin="200" length="10" time="1"/>
	    <single_mapping origin_block="40" data_block="300" time="2"/>
	    <single_mapping origin_block="42" data_block="301" time="2"/>
	  </device>
	  <device dev_id="2" mapped_blocks="31" transaction="1" creation_time="1" snap_time="2">
	    <single_mapping origin_block="0" data_block="100" time="0"/>
	    <range_mapping origin_begin="1" data_begin="10" length="9" time="1"/>
	    <single_mapping origin_block="15" data_block="310" time="2"/>
	    <range_mapping origin_begin="20" data_begin="200" length="10" time="1"/>
	    <range_mapping origin_begin="40" data_begin="320" length="10" time="2"/>
	  </device>
	  <device dev_id="7" mapped_blocks="3" transaction="5" creation_time="2" snap_time="2">
	    <range_mapping origin_begin="1000" data_begin="997" length="3" time="2"/>
	  </device>
	</superblock>
END
flat plain.img >plain.flat
same plain.want plain.flat "plain: what it says"

# --- written in another way ---

sed 's/$/\r/' plain.xml >pool.xml
same_image "CRLF"

tr '\n' '\r' <plain.xml >pool.xml
same_image "CR alone"

sed 's/^ */\t\t/; s/ \([a-z_]*=\)/\t\1/g' plain.xml >pool.xml
same_image "tabs"

tr -d '\n' <plain.xml >pool.xml
same_image "one line"

sed 's/^ *//' plain.xml | tr -d '\n' >pool.xml
same_image "one line without blanks"

sed 's/^/                                        /' plain.xml >pool.xml
same_image "far to the right"

sed 's/$/\n\n   \n/' plain.xml >pool.xml
same_image "blank lines"

head -c -1 plain.xml >pool.xml
same_image "no newline at the end"

{ cat plain.xml && printf '\n   \n<!-- the end -->\n\n'; } >pool.xml
same_image "a comment behind the end"

tr '"' "'" <plain.xml >pool.xml
same_image "single quotes"

{
	sed 1q plain.xml
	sed '1d; s/^/<!-- here --> /
		s,$,<!--\n    <single_mapping origin_block="99" data_block="99" time="0"/>\n-->,' plain.xml
} >pool.xml
same_image "comments with a mapping, behind each line"

sed 's,^    <single.*,<!--&-->&<!--\n&\n&\n-->,' plain.xml >pool.xml
same_image "comments with the mappings that follow"

sed '2,24s/$/<![CDATA[  \n \t ]]>/' plain.xml >pool.xml
same_image "CDATA of blanks"

sed '1,24s/$/<?note\n    <single_mapping origin_block="99" data_block="99" time="0"\/>\n?>/' plain.xml >pool.xml
same_image "processing instructions with a mapping"

{ echo '<?xml version="1.0"?>' && cat plain.xml; } >pool.xml
same_image "XML declaration"

for encoding in UTF-8 utf-8 US-ASCII ISO-8859-1; do
	{ echo "<?xml version='1.0' encoding='$encoding' standalone='yes'?>" && cat plain.xml; } >pool.xml
	same_image "XML declaration with $encoding"
done

{ printf '\357\273\277' && cat plain.xml; } >pool.xml
same_image "byte order mark"

if command -v iconv >/dev/null; then
	iconv -f UTF-8 -t UTF-16 plain.xml >pool.xml
	same_image "UTF-16"
	{ echo '<?xml version="1.0" encoding="UTF-16"?>' && cat plain.xml; } | iconv -f UTF-8 -t UTF-16 >pool.xml
	same_image "UTF-16 with a declaration"
else
	skip "UTF-16: iconv is not installed"
fi

sed 's/ \([a-z_]*="[^"]*"\) \([a-z_]*="[^"]*"\)/ \2 \1/g' plain.xml >pool.xml
same_image "attributes in another order"

sed 's/ \([a-z_]*\)=\("[^"]*"\)/\n\t\1 =\n \2/g' plain.xml >pool.xml
same_image "attributes on several lines"

sed 's,/>, />,; s,^\( *</[a-z]*\)>,\1 \n>,' plain.xml >pool.xml
same_image "blanks at the end of tags"

sed 's,<\([a-z_]*\)\([^>]*\)/>,<\1\2></\1>,' plain.xml >pool.xml
same_image "empty elements with an end"

sed '3,$s/="\([0-9]*\)"/="000\1"/g' plain.xml >pool.xml
same_image "leading zeros"

sed '3,$s/="\([0-9]*\)"/="000000000000000000000000000000\1"/g
2s/version="2"/version="00000000002"/' plain.xml >pool.xml
same_image "many leading zeros"

sed 's/="1/="\&#49;/g; s/="2/="\&#x32;/g; s/0"/\&#0048;"/g' plain.xml >pool.xml
same_image "entities in numbers"

sed '3s/low/l\&#111;w/; 7s/high/\&#x68;igh/' plain.xml >pool.xml
same_image "entities in the name of a def"

sed 's/low/\&quot;l\xc3\xb6w\&quot; \&lt;1\&gt; \&amp;/' plain.xml >pool.xml
same_image "names of defs with other letters"

name=$(printf '%255s' '' | tr ' ' n)
sed "s/low/${name}/" plain.xml >pool.xml
same_image "a name of 255 bytes"

# --- a text of many pieces ---

"$srcdir/tests/corpus/get" thin-frag frag.img || exit 99
cp plain.xml small.xml
cp plain.img small.img
flat frag.img >plain.xml
restore plain.xml plain.img "thin-frag"
flat plain.img >plain.flat
same plain.xml plain.flat "thin-frag: what it says"
tr -d '\n' <plain.xml >pool.xml
same_image "21 MB in one line"
sed 's/^ */\t/' plain.xml >pool.xml
same_image "21 MB with tabs"
awk '{ print } NR % 1000 == 1 { s = $0; gsub("--", "", s); print "<!--\n" s "\n" s "\n-->" }' plain.xml >pool.xml
same_image "21 MB with a comment here and there"
rm -f frag.img plain.xml plain.img pool.xml
cp small.xml plain.xml
cp small.img plain.img
flat plain.img >plain.flat

# --- said in another way ---

cp plain.flat pool.xml
same_flat "without defs" plain.flat

lines plain.xml 1,9 22,24 16,21 10,15 25 >pool.xml
same_flat "devices in another order" plain.flat

# Defs may come between devices, as long as they come before their refs.
lines plain.xml 1,2 22,24 7,9 3,6 10,21 25 >pool.xml
same_flat "defs in other places" plain.flat

sed '8s/length="10"/length="4"/; 8a\
    <single_mapping origin_block="24" data_block="204" time="1"/>\
    <range_mapping origin_begin="25" data_begin="205" length="5" time="1"/>' plain.xml >pool.xml
same_flat "a range in pieces" plain.flat

sed '13s/.*/    <range_mapping origin_begin="40" data_begin="300" length="1" time="2"\/>/' plain.xml >pool.xml
same_flat "a range of one block" plain.flat

# "both" has both of the others.
{
	lines plain.xml 1,9
	printf '  <def name="both">\n    <ref name="low"/>\n    <ref name="high"/>\n  </def>\n'
	lines plain.xml 10
	echo '    <ref name="both"/>'
	lines plain.xml 13,25
} >pool.xml
same_flat "a ref in a def" plain.flat

# Three deep, the inner ones in the middle of their own mappings, and the whole as two devices.
cat >pool.xml <<-END
	<superblock time="1" transaction="1" data_block_size="128" nr_data_blocks="100">
	  <def name="1"><single_mapping origin_block="10" data_block="10" time="0"/></def>
	  <def name="2"><single_mapping origin_block="5" data_block="5" time="0"/><ref name="1"/>
	    <single_mapping origin_block="15" data_block="15" time="0"/></def>
	  <def name="3"><ref name="2"/><single_mapping origin_block="20" data_block="20" time="1"/></def>
	  <device dev_id="1" mapped_blocks="4" transaction="0" creation_time="0" snap_time="1"><ref name="3"/></device>
	  <device dev_id="2" mapped_blocks="4" transaction="1" creation_time="1" snap_time="1"><ref name="3"/></device>
	  <device dev_id="3" mapped_blocks="5" transaction="1" creation_time="1" snap_time="1">
	    <single_mapping origin_block="0" data_block="99" time="1"/><ref name="3"/></device>
	</superblock>
END
cat >want <<-END
	<superblock uuid="" time="1" transaction="1" flags="0" version="2" data_block_size="128" nr_data_blocks="100">
	  <device dev_id="1" mapped_blocks="4" transaction="0" creation_time="0" snap_time="1">
	    <single_mapping origin_block="5" data_block="5" time="0"/>
	    <single_mapping origin_block="10" data_block="10" time="0"/>
	    <single_mapping origin_block="15" data_block="15" time="0"/>
	    <single_mapping origin_block="20" data_block="20" time="1"/>
	  </device>
	  <device dev_id="2" mapped_blocks="4" transaction="1" creation_time="1" snap_time="1">
	    <single_mapping origin_block="5" data_block="5" time="0"/>
	    <single_mapping origin_block="10" data_block="10" time="0"/>
	    <single_mapping origin_block="15" data_block="15" time="0"/>
	    <single_mapping origin_block="20" data_block="20" time="1"/>
	  </device>
	  <device dev_id="3" mapped_blocks="5" transaction="1" creation_time="1" snap_time="1">
	    <single_mapping origin_block="0" data_block="99" time="1"/>
	    <single_mapping origin_block="5" data_block="5" time="0"/>
	    <single_mapping origin_block="10" data_block="10" time="0"/>
	    <single_mapping origin_block="15" data_block="15" time="0"/>
	    <single_mapping origin_block="20" data_block="20" time="1"/>
	  </device>
	</superblock>
END
same_flat "refs three deep" want

sed '2a\
<def name="none"/>
s,<ref name="low"/>,<ref name="none"/>&<ref name="none"/>,; 22a\
<ref name="none"/>' plain.xml >pool.xml
same_flat "refs to a def of nothing" plain.flat

# --- what is left out, and what is kept ---

sed '2s/ uuid="[^"]*"//; 2s/ flags="0"//; 2s/ version="2"//' plain.xml >pool.xml
sed '1s/uuid="[^"]*"/uuid=""/' plain.flat >want
same_flat "no uuid, flags and version" want

sed '2s/uuid="[^"]*"/uuid="00112233445566778899AaBbCcDdEeFf"/' plain.xml >pool.xml
sed '1s/uuid="[^"]*"/uuid="00112233445566778899aabbccddeeff"/' plain.flat >want
same_flat "a uuid of 32 digits is kept" want

# thin_dump writes the bytes as they are.
sed '2s/uuid="[^"]*"/uuid="0123456789abcdef"/' plain.xml >pool.xml
sed '1s/uuid="[^"]*"/uuid="30313233343536373839616263646566"/' plain.flat >want
same_flat "a uuid of 16 bytes is kept" want

sed '2s/flags="0"/flags="1"/' plain.xml >pool.xml
sed '1s/flags="0"/flags="1"/' plain.flat >want
restore pool.xml pool.img "needs_check"
flat pool.img >pool.flat 2>messages
same want pool.flat "needs_check: is kept"
is "$(bufio-dump pool.img | grep -o 'flags.*')" "flags NEEDS_CHECK" "needs_check: the summary says so"

sed '2s/version="2"/version="1"/' plain.xml >pool.xml
sed '1s/version="2"/version="1"/' plain.flat >want
same_flat "version 1 is kept" want

sed '2s/transaction="5"/transaction="18446744073709551615"/; 2s/time="2"/time="16777215"/
22s/dev_id="7"/dev_id="16777215"/; 22s/_time="2"/_time="16777215"/g
23s/origin_begin="1000"/origin_begin="18446744073709551612"/; 23s/time="2"/time="16777215"/' plain.xml >pool.xml
sed '1s/transaction="5"/transaction="18446744073709551615"/; 1s/time="2"/time="16777215"/
16s/dev_id="7"/dev_id="16777215"/; 16s/_time="2"/_time="16777215"/g
17s/origin_begin="1000"/origin_begin="18446744073709551612"/; 17s/time="2"/time="16777215"/' plain.flat >want
cmp -s plain.flat want
is $? 1 "the largest numbers: are others"
same_flat "the largest numbers" want

# What is read here must be seen again: the last number of all is refused, or is there.
sed '23s/origin_begin="1000"/origin_begin="18446744073709551613"/' plain.xml >pool.xml
sed '17s/origin_begin="1000"/origin_begin="18446744073709551613"/' plain.flat >want
rm -f pool.img
bufio-restore -q -i pool.xml -o pool.img
if [ $? = 4 ]; then
	is "$(echo pool.img*)" "pool.img*" "the last virtual block: is refused"
else
	flat pool.img >pool.flat 2>messages
	same want pool.flat "the last virtual block: is there"
fi

# Device 0 is one like any other.
sed '16s/dev_id="2"/dev_id="0"/' plain.xml >pool.xml
lines plain.flat 1 9,15 2,8 '16,$' | sed 's/dev_id="2"/dev_id="0"/' >want
same_flat "device 0" want

sed '9a\
<def name="spare"><range_mapping origin_begin="0" data_begin="500" length="300" time="0"/></def>\
<def name="spare of spare"><ref name="spare"/><ref name="empty"/></def>
2a\
<def name="empty"/>' plain.xml >pool.xml
same_flat "defs that nobody refers to" plain.flat
is "$(used_blocks pool.img)" "$(used_blocks plain.img)" "defs that nobody refers to: take no metadata"
is "$(bufio-dump --json pool.img | grep -o '"data_used_blocks":[0-9]*')" '"data_used_blocks":36' \
	"defs that nobody refers to: take no data"

# There is room for a large one while it is written, if there is none in the end.
awk 'NR == 3 {
	print "<def name=\"spare\">"
	for (i = 0; i < 300; i++)
		print "<range_mapping origin_begin=\"" i * 1000 "\" data_begin=\"0\" length=\"1000\" time=\"0\"/>"
	print "</def>"
}
{ print }' plain.xml >pool.xml
restore pool.xml pool.img "a large def that nobody refers to"
is "$(used_blocks pool.img)" "$(used_blocks plain.img)" "a large def that nobody refers to: takes no metadata"

sed '24a\
  <device dev_id="8" mapped_blocks="0" transaction="5" creation_time="2" snap_time="2"/>\
  <device dev_id="9" mapped_blocks="0" transaction="5" creation_time="2" snap_time="2">\
  </device>' plain.xml >pool.xml
sed '18a\
  <device dev_id="8" mapped_blocks="0" transaction="5" creation_time="2" snap_time="2">\
  </device>\
  <device dev_id="9" mapped_blocks="0" transaction="5" creation_time="2" snap_time="2">\
  </device>' plain.flat >want
same_flat "empty devices" want

lines plain.flat 1 '$' >want
sed -n '1s,>$,/>,p' plain.flat >pool.xml
same_flat "an empty pool" want

lines plain.xml 1,9 25 >pool.xml
same_flat "a pool of defs alone" want

sed -n '1{s/nr_data_blocks="1000"/nr_data_blocks="0"/; s,>$,/>,p}' plain.flat >pool.xml
sed 's/nr_data_blocks="1000"/nr_data_blocks="0"/' want >want0
same_flat "an empty pool without data" want0

# --- shared subtrees of real pools ---

# The size that the refusal says is needed is enough, and one block less is refused before anything is written.
enough() { # XML NAME
	printf junk >small.img
	truncate -s 4096 small.img
	needed=$(bufio-restore -i "$1" -o small.img 2>&1 | sed -n 's/.* of 4 KiB, and \([0-9]*\) (.* are needed.*/\1/p')
	ok "$needed" "$2: too small a target is refused with the size that it must have" || return
	truncate -s $(((needed - 1) * 4096)) small.img
	cp small.img small.was
	bufio-restore -q -i "$1" -o small.img
	is "$? $(cmp small.was small.img 2>&1)" "3 " "$2: one block less than that is refused too, and as it was"
	truncate -s $((needed * 4096)) small.img
	bufio-restore -i "$1" -o small.img >messages 2>&1
	is $? 0 "$2: $needed blocks are enough"
}

enough plain.xml "plain"

for name in thin-snaps thin-sharedmany thin-manydev thin-discard; do
	"$srcdir/tests/corpus/get" $name pool.orig || exit 99
	flat pool.orig >want
	bufio-dump --format=xml pool.orig >pool.xml
	same_flat "$name with its defs" want
	enough pool.xml "$name with its defs"
	blocks=$(used_blocks pool.img)
	restore want pool.img "$name without defs"
	enough want "$name without defs"
	ok $((blocks <= $(used_blocks pool.img))) "$name: defs take no more metadata than their mappings again and again"
done

# As of a metadata snapshot: the highest mapping tells how many bitmaps there have to be.
sed '2s/nr_data_blocks="1000"/nr_data_blocks="0"/; 23s/data_begin="997"/data_begin="9999997"/' plain.xml >pool.xml
enough pool.xml "a data device of unknown size"
finish
