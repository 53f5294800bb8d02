/* codec.h - integers on disk: little-endian, at any alignment, on every machine. */
#ifndef BOUGH_ENGINE_CODEC_H
#define BOUGH_ENGINE_CODEC_H

#include <stdint.h>

static inline void bough__put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void bough__put32(uint8_t *p, uint32_t v)
{
    bough__put16(p, (uint16_t)v);
    bough__put16(p + 2, (uint16_t)(v >> 16));
}
static inline void bough__put64(uint8_t *p, uint64_t v)
{
    bough__put32(p, (uint32_t)v);
    bough__put32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t bough__get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t bough__get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t bough__get64(const uint8_t *p)
{
    return (uint64_t)bough__get32(p) | (uint64_t)bough__get32(p + 4) << 32;
}

#endif
