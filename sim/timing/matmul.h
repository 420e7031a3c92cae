// MATMUL: hw/tpu/{matmul,accumulators}.py without data. Once begun, a pass streams one position a
// cycle; where a position reads and lands is computed only when somebody else wants to know.
#pragma once

#include "weights.h"

namespace timing {

class MatmulSequencer {
public:
    explicit MatmulSequencer(const Sizes& sizes)
        : landing_(sizes.landing), n_(sizes.array), bank_log_(log2_of(sizes.bank_rows)),
          bank_bit_(log2_of(sizes.accumulator_rows)) {}

    bool streaming = false, starving = false, takes_tile = false;  // in this cycle
    bool ready = true;  // takes a command in this cycle
    int64_t macs = 0;
    Completed completed;

    // Decide cycle `t`; true if anything but the position in the pass changes.
    bool step(int64_t t, const WeightFifo& weights) {
        bool moved = completed.valid;
        completed.valid = false;
        if (!ends_.empty() && ends_.front().when == t) {
            completed = {true, ends_.front().signal};
            ends_.pop();
            moved = true;
        }
        if (!landings_.empty() && t >= landings_.front().begin + landing_ + landings_.front().size)
            landings_.pop();
        streaming = starving = takes_tile = false;
        ready = !op_;
        macs = 0;
        if (!op_) return moved;
        if (t > pass_end_) {  // a pass may begin
            const bool wants = !(op_->keep && pass_ == 0);
            starving = wants && !weights.ready(t);
            if (starving) return moved;
            takes_tile = wants;
            pass_end_ = t + positions_ - 1;
            landings_.push({t, positions_, op_, pass_ == 0 && !op_->accumulate});
            moved = true;
        }
        streaming = true;
        const bool deepest = pass_ >= passes_ - kernel_;
        macs = (deepest && op_->used_rows < n_ ? op_->used_rows : n_) *
               std::min(op_->used_columns, n_);
        if (t == pass_end_) {
            moved = true;
            if (++pass_ == passes_) {
                ends_.push({t + landing_, op_->signal});
                ready = true;
                last_ = op_, op_ = nullptr;
            }
        }
        return moved;
    }

    void start(const Matmul& op) {
        op_ = &op;
        pass_ = 0;
        kernel_ = op.kernel_rows * op.kernel_columns;
        passes_ = kernel_ * op.channel_blocks;
        positions_ = op.batches * op.rows * op.columns;
    }

    // The scratchpad bank that the array reads in cycle `t`, in which it streams.
    int bank(int64_t t) const {
        const Matmul& op = op_ ? *op_ : *last_;
        const int64_t pass = t == pass_end_ ? pass_ - 1 : pass_;
        const int64_t c = pass / kernel_, ky = pass % kernel_ / op.kernel_columns;
        const int64_t kx = pass % op.kernel_columns;
        const Place at = place(op, t - (pass_end_ - positions_ + 1));
        const int64_t y = op.top + at.row * op.step_y + ky * op.dilation_y;
        const int64_t x = op.left + at.column * op.step_x + kx * op.dilation_x;
        if (y < 0 || y >= op.height || x < 0 || x >= op.width) return kNoBank;
        const int64_t row = op.source + c * op.channel_stride + ky * op.kernel_row_stride +
                            kx * op.kernel_column_stride + at.batch * op.batch_stride +
                            at.row * op.row_stride + at.column * op.column_stride;
        return int((row & kRowMask) >> bank_log_);
    }

    // The accumulator bank that the array reads in cycle `t` in order to add, or kNoBank.
    int adding(int64_t t) {
        for (int i = 0; i < landings_.size(); ++i) {
            const Landings& pass = landings_.at(i);
            const int64_t index = t - landing_ - pass.begin;
            if (index < 0) break;
            if (index >= pass.size) continue;
            if (pass.overwrite) return kNoBank;
            const Place at = place(*pass.op, index);
            const int64_t row = pass.op->accumulator +
                                at.batch * pass.op->accumulator_batch_stride +
                                at.row * pass.op->accumulator_row_stride +
                                at.column * pass.op->accumulator_column_stride;
            return int(row >> bank_bit_ & 1);
        }
        return kNoBank;
    }

    // The first cycle after `t` in which `step` may change something by itself.
    int64_t next_event(int64_t t) const {
        int64_t event = streaming && t < pass_end_ ? pass_end_ : kNever;
        if (!ends_.empty()) event = std::min(event, ends_.front().when);
        return event;
    }

private:
    struct Place {
        int64_t batch, row, column;
    };
    struct Landings {
        int64_t begin, size;
        const Matmul* op;
        bool overwrite;
    };
    struct End {
        int64_t when, signal;
    };
    int64_t landing_, n_;
    int bank_log_, bank_bit_;
    const Matmul *op_ = nullptr, *last_ = nullptr;
    int64_t pass_ = 0, passes_ = 0, kernel_ = 1, positions_ = 0, pass_end_ = -1;
    Ring<Landings, 2048> landings_;  // at most one pass begins per cycle
    Ring<End, 2048> ends_;

    static Place place(const Matmul& op, int64_t index) {
        const uint32_t at = uint32_t(index), columns = uint32_t(op.columns), rows = uint32_t(op.rows);
        const uint32_t rest = at / columns;
        return {rest / rows, rest % rows, at % columns};
    }
};

}  // namespace timing
