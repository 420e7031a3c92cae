// What all units share: sizes, rings, banks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "formats.h"  // generated from hw/tpu/isa.py: one struct per format
#include "sizes.h"    // generated from layout.py

namespace timing {

constexpr int64_t kNever = int64_t(1) << 62;
constexpr int kNoBank = -1;
constexpr int64_t kRowMask = (1 << 20) - 1;

// Room for the longest format; `opcode` stands first in each.
using Words = int64_t[kInstructionWords];

inline int log2_of(int64_t power) { return __builtin_ctzll(uint64_t(power)); }

// Equal consecutive ranges of rows; a power of two in hardware, anything in models of other chips.
class Banks {
public:
    explicit Banks(int64_t rows)
        : rows_(uint32_t(rows)), shift_(rows & (rows - 1) ? -1 : log2_of(rows)) {}
    int of(int64_t row) const { return int(shift_ < 0 ? uint32_t(row) / rows_ : row >> shift_); }

private:
    uint32_t rows_;
    int shift_;
};

// A FIFO of at most `kSize` (a power of two) items; who uses it keeps the limit.
template <typename T, int kSize>
class Ring {
public:
    bool empty() const { return count_ == 0; }
    int size() const { return count_; }
    T& front() { return slots_[head_]; }
    const T& front() const { return slots_[head_]; }
    const T& at(int index) const { return slots_[(head_ + index) & (kSize - 1)]; }
    T& at(int index) { return slots_[(head_ + index) & (kSize - 1)]; }
    void push(const T& item) { slots_[(head_ + count_++) & (kSize - 1)] = item; }
    void pop() { head_ = (head_ + 1) & (kSize - 1), --count_; }

private:
    static_assert((kSize & (kSize - 1)) == 0);
    T slots_[kSize];
    int head_ = 0, count_ = 0;
};

// amaranth.lib.fifo.SyncFIFOBuffered without its data.
struct BufferedLevel {
    int inner = 0;
    bool out = false;

    // One cycle; true if anything changed.
    bool step(bool write, bool read) {
        const bool move = inner > 0 && (!out || read);
        const bool changed = write | move | (out & read);
        inner += int(write) - int(move);
        if (move)
            out = true;
        else if (read)
            out = false;
        return changed;
    }
};

// A strobe one cycle after its cause, with the semaphores to signal.
struct Completed {
    bool valid = false;
    int64_t signal = 0;
};

}  // namespace timing
