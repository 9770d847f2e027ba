# SPDX-License-Identifier: LGPL-2.1-or-later
# The mappings of a flat XML: as bytes in extents, a line each of device, virtual start, data start, length (mode=extents);
# or block by block: device, virtual block, data block, time (mode=blocks). Numbers up to 2^53.

function attribute(name,    at) {
	at = index($0, " " name "=\"") + length(name) + 3
	return substr($0, at, index(substr($0, at), "\"") - 1)
}

function flush() {
	if (len)
		printf "%s %.0f %.0f %.0f\n", device, origin * unit, data * unit, len * unit
	len = 0
}

function add(o, d, l, t,    i) {
	if (mode == "blocks") {
		for (i = 0; i < l; i++)
			printf "%s %.0f %.0f %.0f\n", device, o + i, d + i, t
		return
	}
	if (len && o == origin + len && d == data + len) {
		len += l
		return
	}
	flush()
	origin = o; data = d; len = l
}

/<superblock / { unit = attribute("data_block_size") * 512 }
/<device / { device = attribute("dev_id") }
/<single_mapping / { add(attribute("origin_block") + 0, attribute("data_block") + 0, 1, attribute("time") + 0) }
/<range_mapping / { add(attribute("origin_begin") + 0, attribute("data_begin") + 0, attribute("length") + 0, attribute("time") + 0) }
/<\/device>/ { flush() }
