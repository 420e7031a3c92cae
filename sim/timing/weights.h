// The weight FIFO and its loader: hw/tpu/weights.py without data.
#pragma once

#include "period.h"

namespace timing {

class WeightFifo {
public:
    explicit WeightFifo(const Sizes& sizes)
        : n_(int(sizes.array)), depth_(int(sizes.array * sizes.weight_tiles)) {}

    bool room() const { return level_ != depth_; }
    // A tile may be taken in cycle `t`.
    bool ready(int64_t t) const { return full_ || t == last_; }
    int64_t next_event() const { return last_; }

    bool step(int64_t t, bool accepted, bool taken) {
        const bool ends = t == last_, starts = last_ == kNever && !full_ && level_ >= n_;
        level_ += int(accepted) - (ends ? n_ : 0);
        if (starts) last_ = t + n_ - 1;
        if (ends) {
            last_ = kNever;
            full_ = !taken;
        } else if (taken) {
            full_ = false;
        }
        return accepted | taken | ends | starts;
    }

    void describe(Snapshot& state) const {
        state.put(level_), state.put(full_), state.put_time(last_);
    }

    void leap(const Leap& leap) {
        if (last_ != kNever) last_ += leap.cycles;
    }

private:
    int n_, depth_, level_ = 0;
    bool full_ = false;
    int64_t last_ = kNever;  // the cycle that completes the tile being shifted
};

}  // namespace timing
