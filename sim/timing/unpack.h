// Instruction words to `Words`: every field of a format by itself, in order from the opcode on.
#pragma once

#include <cstring>

#include "parts.h"

namespace timing {

// Fields of one 64-byte instruction; false for an unknown opcode or bits beyond the last field.
inline bool unpack(const uint8_t* code, Words& words) {
    uint64_t from[9] = {};
    std::memcpy(from, code, 64);
    words[0] = code[0];
    const Layout layout = layout_of(code[0]);
    int at = 0;
    const auto take = [&](int bits) {
        const int word = at / 64, shift = at % 64;
        uint64_t value = from[word] >> shift;
        if (shift) value |= from[word + 1] << (64 - shift);
        at += bits;
        return value & (~uint64_t(0) >> (64 - bits));
    };
    for (int i = 0; i < layout.count; ++i) {
        const int bits = std::abs(layout.bits[i]);
        const uint64_t value = take(bits);
        words[i] = layout.bits[i] < 0 ? int64_t(value << (64 - bits)) >> (64 - bits)
                                      : int64_t(value);
    }
    uint64_t rest = 0;
    while (at < 512) rest |= take(std::min(64, 512 - at));
    return layout.count && !rest;
}

}  // namespace timing
