/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), the checksum of every device-mapper metadata block.
 *
 * "Raw": neither the initial value nor the final inversion is applied here. The standard CRC-32C of a buffer is
 * ~crc32c_raw(0xFFFFFFFF, buf, len); device-mapper stores crc32c_raw(0xFFFFFFFF, ...) XOR a salt, without inverting.
 *
 * Threads: safe.
 * Cost: with SSE 4.2, three interleaved streams for each 4080 bytes; elsewhere eight table look-ups for eight bytes.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_raw(uint32_t crc, const void *buf, size_t len);

/* The same by tables alone, whatever the processor can do: the reference that tests compare with. */
uint32_t crc32c_raw_portable(uint32_t crc, const void *buf, size_t len);

#endif
