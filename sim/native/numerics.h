// hw/tpu/numerics.py for one number; a test compares every bit.
#pragma once

#include <cmath>
#include <cstdint>

#include "constants.h"

namespace native {

inline int32_t clamp(int32_t value, int32_t low, int32_t high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

inline int32_t clamp8(int32_t value) { return clamp(value, kInt8Min, kInt8Max); }

// numerics.requantise; a scale that is no number gives what NumPy gives on this machine.
inline int32_t requantise(int32_t accumulator, float scale, int32_t zero_point) {
    float real = float(accumulator) * scale;
    real = real < -512.0f ? -512.0f : real;
    real = real > 511.0f ? 511.0f : real;
    const bool number = real == real;
    const int32_t rounded = int32_t(__builtin_rintf(number ? real : 0.0f));
    const int32_t steps = number ? rounded : INT32_MIN;
    return clamp8(int32_t(uint32_t(steps) + uint32_t(zero_point)));
}

// The constants of numerics.residual_add: integers below 2**48, which float64 holds exactly.
struct AddConstants {
    double a, b, offset;

    // numerics.unpack_add_constants of lanes 0 and 1 of an entry.
    AddConstants(uint64_t low, uint64_t high) {
        const uint64_t mask = (uint64_t(1) << kAddRatioBits) - 1;
        a = double(low & mask);
        b = double((low >> 40 | high << 24) & mask);
        const int unused = 64 - kAddSumBits;
        offset = double(int64_t(high >> 16 << unused) >> unused);
    }
};

// A whole number modulo 2**kAddSumBits, in [-half, half).
inline double wrap_sum(double value) {
    constexpr double span = double(int64_t(1) << kAddSumBits);
    return value - span * __builtin_floor(value / span + 0.5);
}

// numerics.round_significant: float32 has the 24 bits, and rounds half to even.
inline double round_significant(double value) { return double(float(value)); }

// numerics.residual_add.
inline int32_t residual_add(int32_t first, int32_t second, const AddConstants& constants) {
    constexpr double one = double(int64_t(1) << kAddFractionBits);
    double total = wrap_sum(double(second) * constants.b + constants.offset);
    total = wrap_sum(wrap_sum(round_significant(total)) + double(first) * constants.a);
    total = wrap_sum(round_significant(total));
    return clamp8(int32_t(__builtin_rint(total / one)));
}

}  // namespace native
