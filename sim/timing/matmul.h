// MATMUL: hw/tpu/{matmul,accumulators}.py without data. Once begun, a pass streams one position a
// cycle; where a position reads and lands is computed only when somebody else wants to know.
#pragma once

#include "weights.h"

namespace timing {

class MatmulSequencer {
public:
    explicit MatmulSequencer(const Sizes& sizes)
        : landing_(sizes.landing), n_(sizes.array), banks_(sizes.bank_rows),
          bank_bit_(log2_of(sizes.accumulator_rows)), scratchpad_rows_(sizes.scratchpad_rows) {}

    bool streaming = false, starving = false, takes_tile = false;  // in this cycle
    bool begins = false;  // a pass, in this cycle
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
        streaming = starving = takes_tile = begins = false;
        ready = !op_;
        macs = 0;
        if (!op_) return moved;
        if (t > pass_end_) {  // a pass may begin
            const bool wants = !(op_->keep && pass_ == 0);
            starving = wants && !weights.ready(t);
            if (starving) return moved;
            takes_tile = wants;
            begins = true;
            pass_end_ = t + positions_ - 1;
            landings_.push({t, positions_, op_, pass_ == 0 && !op_->accumulate, landing_banks_});
            moved = true;
        }
        streaming = true;
        current_ = op_;
        const bool deepest = pass_ >= passes_ - kernel_;
        macs = (deepest && op_->used_rows < n_ ? op_->used_rows : n_) *
               std::min(op_->used_columns, n_);
        if (t == pass_end_) {
            moved = true;
            if (++pass_ == passes_) {
                ends_.push({t + landing_, op_->signal});
                ready = true;
                op_ = nullptr;
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
        bound(op);
    }

    // Whether the array reads scratchpad bank `bank` in cycle `t`.
    bool reads(int64_t t, int bank) const {
        if (!streaming) return false;
        const Matmul& op = *current_;
        const int64_t lowest = op.source - (op.source > kRowMask / 2 ? kRowMask + 1 : 0) + below_;
        // a row outside the memory would be a fault: only a start below row 0 can wrap
        if (lowest > scratchpad_rows_ - kRowMask && lowest + span_ <= kRowMask &&
            (bank < banks_.of(std::max<int64_t>(lowest, 0)) || bank > banks_.of(lowest + span_)))
            return false;
        const int64_t pass = t == pass_end_ ? pass_ - 1 : pass_;
        const int64_t c = pass / kernel_, ky = pass % kernel_ / op.kernel_columns;
        const int64_t kx = pass % op.kernel_columns;
        const Place at = place(op, t - (pass_end_ - positions_ + 1));
        const int64_t y = op.top + at.row * op.step_y + ky * op.dilation_y;
        const int64_t x = op.left + at.column * op.step_x + kx * op.dilation_x;
        if (y < 0 || y >= op.height || x < 0 || x >= op.width) return false;
        const int64_t row = op.source + c * op.channel_stride + ky * op.kernel_row_stride +
                            kx * op.kernel_column_stride + at.batch * op.batch_stride +
                            at.row * op.row_stride + at.column * op.column_stride;
        return banks_.of(row & kRowMask) == bank;
    }

    // Whether the array reads accumulator bank `bank` in cycle `t` in order to add.
    bool adds(int64_t t, int bank) const {
        for (int i = 0; i < landings_.size(); ++i) {
            const Landings& pass = landings_.at(i);
            const int64_t index = t - landing_ - pass.begin;
            if (index < 0) break;
            if (index >= pass.size) continue;
            if (pass.overwrite || !(pass.banks >> bank & 1)) return false;
            if (pass.banks == 1 << bank) return true;
            const Place at = place(*pass.op, index);
            const int64_t row = pass.op->accumulator +
                                at.batch * pass.op->accumulator_batch_stride +
                                at.row * pass.op->accumulator_row_stride +
                                at.column * pass.op->accumulator_column_stride;
            return int(row >> bank_bit_ & 1) == bank;
        }
        return false;
    }

    // The first cycle after `t` in which `step` may change something by itself.
    int64_t next_event(int64_t t) const {
        int64_t event = streaming && t < pass_end_ ? pass_end_ : kNever;
        if (!ends_.empty()) event = std::min(event, ends_.front().when);
        return event;
    }

    void describe(Snapshot& state) const {
        state.put_pointer(op_);
        state.put_time(pass_end_);
        state.put(landings_.size());
        for (int i = 0; i < landings_.size(); ++i) {
            const Landings& pass = landings_.at(i);
            state.put_time(pass.begin), state.put(pass.overwrite), state.put_pointer(pass.op);
        }
        state.put(ends_.size());
        for (int i = 0; i < ends_.size(); ++i) state.put_time(ends_.at(i).when);
        state.pass = pass_;
    }

    // How many more times as many passes as since pass `before` are like these, useful MACs
    // included.
    int64_t repetitions(int64_t before) const {
        const int64_t deepest = passes_ - kernel_;
        const bool changes = op_->used_rows < n_ && before < deepest;
        return ((changes ? deepest : passes_) - 1 - pass_) / (pass_ - before);
    }

    void leap(const Leap& leap) {
        pass_ += leap.passes;
        pass_end_ += leap.cycles;
        for (int i = 0; i < landings_.size(); ++i) landings_.at(i).begin += leap.cycles;
        for (int i = 0; i < ends_.size(); ++i) ends_.at(i).when += leap.cycles;
    }

private:
    struct Place {
        int64_t batch, row, column;
    };
    struct Landings {
        int64_t begin, size;
        const Matmul* op;
        bool overwrite;
        int banks;
    };
    struct End {
        int64_t when, signal;
    };
    int64_t landing_, n_;
    Banks banks_;
    int bank_bit_;
    int64_t scratchpad_rows_, below_ = 0, span_ = 0;
    int landing_banks_ = 0;  // bit b: this instruction may land in accumulator bank b
    const Matmul *op_ = nullptr, *current_ = nullptr;  // at work; streaming in this cycle
    int64_t pass_ = 0, passes_ = 0, kernel_ = 1, positions_ = 0, pass_end_ = -1;
    Ring<Landings, 2048> landings_;  // at most one pass begins per cycle
    Ring<End, 2048> ends_;

    // Which rows and banks `op` can reach at most.
    void bound(const Matmul& op) {
        below_ = span_ = 0;
        for (auto [count, stride] : {std::pair{op.channel_blocks, op.channel_stride},
                                     {op.kernel_rows, op.kernel_row_stride},
                                     {op.kernel_columns, op.kernel_column_stride},
                                     {op.batches, op.batch_stride},
                                     {op.rows, op.row_stride},
                                     {op.columns, op.column_stride}}) {
            const int64_t reach =
                (count - 1) * (stride > kRowMask / 2 ? stride - kRowMask - 1 : stride);
            below_ += std::min<int64_t>(reach, 0);
            span_ += std::abs(reach);
        }
        const int64_t last = op.accumulator + (op.batches - 1) * op.accumulator_batch_stride +
                             (op.rows - 1) * op.accumulator_row_stride +
                             (op.columns - 1) * op.accumulator_column_stride;
        const bool one = op.accumulator >> bank_bit_ == last >> bank_bit_;
        landing_banks_ = one ? 1 << (op.accumulator >> bank_bit_ & 1) : 3;
    }

    static Place place(const Matmul& op, int64_t index) {
        const uint32_t at = uint32_t(index), columns = uint32_t(op.columns), rows = uint32_t(op.rows);
        const uint32_t rest = at / columns;
        return {rest / rows, rest % rows, at % columns};
    }
};

}  // namespace timing
