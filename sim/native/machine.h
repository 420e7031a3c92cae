// What instructions act on, and where their rows are.
#pragma once

#include <cstdint>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "constants.h"  // generated from hw/tpu/numerics.py and config.py
#include "formats.h"    // generated from hw/tpu/isa.py: one struct per format
#include "machine_members.h"  // generated from simulator.py: Machine, sizes and addresses

namespace native {

template <typename T>
T* at(int64_t address) {
    return reinterpret_cast<T*>(address);
}

// One of nested counters: how often, and how many rows (or bytes) further each time.
struct Axis {
    int64_t count, stride;
};

// The signed distance that a field of `bits` bits means.
inline int64_t distance(int64_t field, int bits) {
    return int64_t(uint64_t(field) << (64 - bits)) >> (64 - bits);
}

inline int64_t row_distance(int64_t field) { return distance(field, kRowBits); }

struct Range {
    int64_t low, high;
};

// Least and greatest of base + sum of index times stride; both are reached.
inline Range range(int64_t base, std::initializer_list<Axis> axes) {
    Range found{base, base};
    for (const Axis& axis : axes) {
        const int64_t reach = (axis.count - 1) * axis.stride;
        (reach < 0 ? found.low : found.high) += reach;
    }
    return found;
}

// Brings `base` to where all rows of the counters are below `limit` without a wrap modulo 2**bits;
// false if there is no such place, as for a row that does not exist.
inline bool place(int64_t& base, int64_t limit, int bits, std::initializer_list<Axis> axes) {
    const Range rows = range(base, axes);
    const int64_t shift = rows.low >> bits << bits;
    base -= shift;
    return rows.high - shift < limit;
}

// Indices [first, end) of a counter of `count` whose position from + index*step is in [0, size).
struct Span {
    int64_t first, end;
    bool empty() const { return first >= end; }
};

inline Span inside(int64_t from, int64_t step, int64_t count, int64_t size) {
    if (step == 0) return from >= 0 && from < size ? Span{0, count} : Span{0, 0};
    const int64_t first = from < 0 ? (-from + step - 1) / step : 0;
    const int64_t end = from < size ? (size - 1 - from) / step + 1 : 0;
    return {first, end < count ? end : count};
}

// The weight FIFO, rows of `array` bytes, and the tile in the array.
struct Weights {
    std::vector<int8_t> fifo, tile;
    size_t taken = 0;  // bytes at the front that are gone

    size_t waiting() const { return fifo.size() - taken; }

    // Room for so many more bytes.
    int8_t* append(size_t bytes) {
        if (taken == fifo.size()) fifo.clear(), taken = 0;
        if (taken > (size_t(1) << 22)) {
            fifo.erase(fifo.begin(), fifo.begin() + std::ptrdiff_t(taken));
            taken = 0;
        }
        fifo.resize(fifo.size() + bytes);
        return fifo.data() + fifo.size() - bytes;
    }
};

}  // namespace native
