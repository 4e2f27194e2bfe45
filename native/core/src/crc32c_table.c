/* CRC-32C by tables, for processors without the instruction.
 *
 * Owns: slicing by eight (Kounavis and Berry, "A systematic approach to building high performance
 * software-based CRC generators", 2005). Must not know other variants. */
#include <pthread.h>

#include "crc32c.h"

#define POLYNOMIAL 0x82F63B78u /* 0x1EDC6F41 with its bits in reverse order */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

/* table[k][b]: what the byte b does to the checksum when k bytes follow it. */
static void table_fill(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (POLYNOMIAL & (0u - (crc & 1u)));
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xFFu];
}

uint32_t atoll__crc32c_table(uint32_t crc, const void *bytes, size_t length) {
    (void)pthread_once(&table_once, table_fill);
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word = atoll__crc32c_word_at(at) ^ crc;
        crc = 0;
        for (uint32_t k = 0; k < 8; k++) crc ^= table[7 - k][(word >> (8 * k)) & 0xFFu];
    }
    for (; length > 0; at++, length--) crc = (crc >> 8) ^ table[0][(crc ^ *at) & 0xFFu];
    return ~crc;
}
