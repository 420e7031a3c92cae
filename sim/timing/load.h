// LOAD: hw/tpu/dma/{load,gearbox}.py without data.
#pragma once

#include "reads.h"
#include "weights.h"

namespace timing {

class LoadUnit {
public:
    explicit LoadUnit(const Sizes& sizes)
        : queue(sizes.burst_beats * sizes.outstanding_bursts),
          splitter_(sizes),
          walker_(sizes),
          contexts_depth_(int(sizes.outstanding_bursts)),
          chunks_(int(sizes.unpacker_chunks)),
          banks_(sizes.bank_rows) {}

    ReadQueue queue;
    Completed completed;
    bool ready = true;    // takes a command in this cycle
    bool accepted = false;  // a weight row went into the FIFO in this cycle
    bool refused = false;   // a row lost its bank to the vector unit

    // Everything but the intake of a command; true if anything changed.
    bool step(bool granted, bool response, int vector_write_bank, const WeightFifo& weights) {
        const bool room = contexts_.size() != contexts_depth_;
        const bool beat = queue.fifo.out && level_ != chunks_;
        bool moved = completed.valid;
        completed.valid = accepted = refused = false;

        // data side
        bool gone = true;
        if (valid_) {
            if (memory_ == int64_t(LoadMemory::SCRATCHPAD)) {
                gone = banks_.of(row_) != vector_write_bank;
                refused = !gone;
            } else if (memory_ == int64_t(LoadMemory::WEIGHTS)) {
                gone = accepted = weights.room();
            }
            if (gone && last_) completed = {true, signal_};
            moved |= gone;
        }
        const bool take = walker_.active && level_ >= walker_.touched && (!valid_ || gone);
        if (gone) valid_ = false;
        level_ += int(beat);
        if (take) {
            level_ -= walker_.finished;
            valid_ = true, row_ = walker_.row, last_ = walker_.last();
            memory_ = walker_.op->memory, signal_ = walker_.op->signal;
            walker_.advance();
        }
        moved |= take | beat | refused;
        if (!walker_.active && !contexts_.empty()) {
            walker_.start(*contexts_.front());
            contexts_.pop();
            moved = true;
        }

        // request side
        const bool burst = queue.takes(splitter_, granted);
        const bool segment = splitter_.ready(burst);
        ready = segments_.ready(segment) && room;
        moved |= queue.step(splitter_, burst, granted, response, beat);
        moved |= splitter_.step(burst, segment && segments_.valid ? &segments_.segment : nullptr);
        moved |= segments_.step(segment);
        return moved;
    }

    void start(const Load& op) {
        segments_.start(op);
        contexts_.push(&op);
    }

    void describe(Snapshot& state) const {
        queue.describe(state);
        splitter_.describe(state);
        segments_.describe(state);
        walker_.describe(state);
        state.put(contexts_.size());
        for (int i = 0; i < contexts_.size(); ++i) state.put_pointer(contexts_.at(i));
        for (int64_t value : {int64_t(level_), int64_t(valid_), int64_t(last_), memory_, signal_,
                              int64_t(ready), int64_t(completed.valid)})
            state.put(value);
    }

    void leap(const Leap& leap) {
        if (walker_.active) row_ += leap.rows * walker_.op->row_stride;
        splitter_.leap(leap);
        walker_.leap(leap);
    }

private:
    BurstSplitter splitter_;
    SegmentGenerator segments_;
    RowWalker walker_;
    Ring<const Load*, 256> contexts_;
    int contexts_depth_, chunks_, level_ = 0;
    Banks banks_;
    bool valid_ = false, last_ = false;  // the row in front of its memory
    int64_t row_ = 0, memory_ = 0, signal_ = 0;
};

}  // namespace timing
