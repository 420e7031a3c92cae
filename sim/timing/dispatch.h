// From DRAM to the units: hw/tpu/{dispatch,queues,semaphores}.py and hw/tpu/dma/fetch.py.
#pragma once

#include "reads.h"

namespace timing {

constexpr int kQueues = 4;
constexpr int kSemaphores = 16;
constexpr int64_t kSemaphoreMax = 255;

class Fetch {
public:
    Fetch(const Sizes& sizes, int64_t first, int64_t length)
        : queue(sizes.fetch_depth), splitter_(sizes), first_(first), length_(length),
          beats_(64 / int(sizes.bus_bytes)) {}

    ReadQueue queue;
    bool valid() const { return filled_ == beats_; }

    // One cycle; `give`: the dispatcher takes the instruction on offer.
    bool step(int64_t t, bool granted, bool response, bool give) {
        const bool read = !valid() || give, fill = queue.fifo.out && read;
        if (give)
            filled_ = fill;
        else
            filled_ += fill;
        const bool burst = queue.takes(splitter_, granted);
        const Segment whole{first_, 64 * length_, true};
        bool moved = queue.step(splitter_, burst, granted, response, read) | fill | give;
        moved |= splitter_.step(burst, t == kBegin && length_ ? &whole : nullptr);
        return moved || t <= kBegin;
    }

private:
    static constexpr int64_t kBegin = 1;  // the cycle of "Check Range", counted as the core does
    BurstSplitter splitter_;
    int64_t first_, length_;
    int beats_, filled_ = 0;
};

// Instruction numbers between dispatch and a unit, and the gate that takes their semaphores.
struct CommandQueue {
    Ring<int64_t, 1024> fifo;
    bool full = false;     // a granted command waits for its unit
    int64_t held = 0;
    bool waiting = false;  // the head lacks a semaphore in this cycle
    int64_t in_flight = 0;
};

class Semaphores {
public:
    // The lower queue number goes first: call in that order, then `settle`.
    bool grant(int64_t mask) {
        if (mask & (~available_ | taken_)) return false;
        taken_ |= mask;
        return true;
    }

    void signal(int64_t mask) {
        while (mask) {
            ++counts_[__builtin_ctzll(uint64_t(mask))];
            changed_ |= mask;
            mask &= mask - 1;
        }
    }

    // The end of a cycle; false if a count has passed its maximum.
    bool settle() {
        bool fits = true;
        changed_ |= taken_;
        for (int64_t left = changed_; left; left &= left - 1) {
            const int number = __builtin_ctzll(uint64_t(left));
            const int64_t bit = int64_t(1) << number;
            counts_[number] -= (taken_ & bit) != 0;
            available_ = counts_[number] ? available_ | bit : available_ & ~bit;
            fits &= counts_[number] <= kSemaphoreMax;
        }
        taken_ = changed_ = 0;
        return fits;
    }

private:
    int64_t counts_[kSemaphores] = {}, available_ = 0, taken_ = 0, changed_ = 0;
};

}  // namespace timing
