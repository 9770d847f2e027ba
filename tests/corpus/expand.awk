# SPDX-License-Identifier: LGPL-2.1-or-later
# XML with <def> and <ref> as the flat XML that it stands for: a def's mappings in the place of each ref, and neighbours
# that continue each other as one. Fails on a ref without a def before it, a name that is given twice, a def that fewer
# than two devices refer to, and an element it does not know. Numbers up to 2^53.

function fail(what) { print "expand: line " NR ": " what >"/dev/stderr"; failed = 1; exit 1 }

function attribute(name,    at) {
	at = index($0, " " name "=\"")
	if (!at)
		fail("no " name)
	at += length(name) + 3
	return substr($0, at, index(substr($0, at), "\"") - 1)
}

function flush() {
	if (len == 1)
		printf "    <single_mapping origin_block=\"%.0f\" data_block=\"%.0f\" time=\"%.0f\"/>\n", origin, data, time
	else if (len)
		printf "    <range_mapping origin_begin=\"%.0f\" data_begin=\"%.0f\" length=\"%.0f\" time=\"%.0f\"/>\n", origin, data, len, time
	len = 0
}

function add(o, d, l, t) {
	if (len && o == origin + len && d == data + len && t == time) {
		len += l
		return
	}
	flush()
	origin = o; data = d; len = l; time = t
}

function mapping(o, d, l, t) {
	if (def == "")
		add(o, d, l, t)
	else
		defs[def, nr[def]++] = o " " d " " l " " t
}

/<def / {
	def = attribute("name")
	if (def in nr)
		fail("def " def " again")
	nr[def] = 0
	next
}
/<\/def>/ { def = ""; next }
/<ref / {
	name = attribute("name")
	if (!(name in nr))
		fail("no def " name)
	for (i = 0; i < nr[name]; i++) {
		split(defs[name, i], f, " ")
		add(f[1] + 0, f[2] + 0, f[3] + 0, f[4] + 0)
	}
	if (!((name, device) in by))
		users[name]++
	by[name, device] = 1
	next
}
/<single_mapping / { mapping(attribute("origin_block") + 0, attribute("data_block") + 0, 1, attribute("time") + 0); next }
/<range_mapping / {
	mapping(attribute("origin_begin") + 0, attribute("data_begin") + 0, attribute("length") + 0, attribute("time") + 0)
	next
}
/<device / { device = attribute("dev_id"); print; next }
/<superblock / { print; next }
/<\/device>/ || /<\/superblock>/ { flush(); print; next }
{ fail("unknown element") }

END {
	for (name in nr)
		if (!failed && users[name] < 2)
			fail("def " name " is of " users[name] + 0 " devices")
}
