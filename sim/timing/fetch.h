// Instruction fetch: hw/tpu/dma/fetch.py without data.
#pragma once

#include "reads.h"

namespace timing {

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

}  // namespace timing
