// VECTOR: hw/tpu/vector/{vector,address}.py without data. Results never wait: the vector unit
// writes first, so that a row is written a fixed number of cycles after the last read of its window,
// more for sums and for what passes through the epilogue.
#pragma once

#include "parts.h"

namespace timing {

class VectorUnit {
public:
    explicit VectorUnit(const Sizes& sizes)
        : latency_(sizes.vector_latency), sum_latency_(sizes.sum_latency),
          epilogue_latency_(sizes.epilogue_latency), banks_(sizes.bank_rows),
          bank_bit_(log2_of(sizes.accumulator_rows)) {
        for (Write& slot : writes_) slot.when = -1;
    }

    Completed completed;
    bool ready = true;           // takes a command in this cycle
    bool busy = false, stalled = false;  // in this cycle

    // First of a cycle: the bank that the second operand is wanted from, or kNoBank.
    int second_bank(int64_t t) const {
        return may_start(t) && wants_second() ? banks_.of(offered_.second) : kNoBank;
    }

    // Then: whether that bank is taken.
    void hold(int64_t t, bool second_refused) {
        second_granted_ = may_start(t) && wants_second() && !second_refused;
        second_refused_ = second_refused;
        may_ = may_start(t) && !second_refused;
    }

    // Then: what the offered position wants to read in this cycle, or kNoBank.
    int accumulator_bank() const { return wants(0) ? int(offered_.row >> bank_bit_ & 1) : kNoBank; }
    int scratchpad_bank() const { return wants(1) ? banks_.of(offered_.row) : kNoBank; }

    // The scratchpad bank written in cycle `t`, or kNoBank.
    int write_bank(int64_t t) const {
        const Write& slot = writes_[t & 31];
        return slot.when == t ? slot.bank : kNoBank;
    }

    // Everything but the intake of a command; `refused`: the wanted bank is taken.
    bool step(int64_t t, bool refused) {
        bool moved = completed.valid;
        completed.valid = false;
        const Write& slot = writes_[t & 31];
        if (slot.when == t && slot.final) completed = {true, slot.signal};
        moved |= t <= last_write_;

        const bool reads = may_ && offered_.inside;
        const bool issue = may_ && !refused;
        busy = (reads && !refused) || second_granted_;
        stalled = (reads && refused) || second_refused_;
        moved |= offers_;
        const bool empty = t > last_write_;
        const bool answered = asked_;
        asked_ = offers_ && empty && offered_.epilogue && !prepared_ && !answered;
        if (answered) prepared_ = through_ = true;
        if (issue && offered_.final) prepared_ = false;
        if (offers_ && empty && !offered_.epilogue) through_ = false;
        if (second_granted_) second_done_ = true;
        if (issue) {
            second_done_ = false;
            if (offered_.sums) last_sum_ = t;
            if (offered_.last) {
                last_write_ = t + latency_ + offered_.sums * sum_latency_ +
                              offered_.epilogue * epilogue_latency_;
                writes_[last_write_ & 31] = {last_write_, banks_.of(offered_.destination),
                                             offered_.final, offered_.signal};
            }
            offers_ = false;
        }
        ready = !op_;
        if (op_ && !offers_) {
            emit();
            moved = true;
            ready = !op_;
        }
        return moved;
    }

    void start(const Vector& op) {
        op_ = &op;
        row_ = window_row_ = output_ = output_row_ = op.base;
        destination_ = destination_row_ = op.destination;
        second_ = second_row_ = op.second;
        y_ = y_start_ = op.top;
        x_ = x_start_ = op.left;
        wx_left_ = op.window_columns, wy_left_ = op.window_rows;
        columns_left_ = op.columns, rows_left_ = op.rows;
    }

private:
    struct Position {
        int64_t row, destination, second, signal;
        bool scratchpad, inside, last, final, sums, add, epilogue;
    };
    struct Write {
        int64_t when;
        int bank;
        bool final;
        int64_t signal;
    };
    int64_t latency_, sum_latency_, epilogue_latency_;
    Banks banks_;
    int bank_bit_;
    const Vector* op_ = nullptr;
    bool offers_ = false;
    Position offered_{};
    Write writes_[32];
    int64_t last_write_ = -1, last_sum_ = -16;
    bool prepared_ = false, through_ = false, asked_ = false;  // the epilogue
    bool second_done_ = false, second_granted_ = false, second_refused_ = false, may_ = false;
    int64_t row_ = 0, window_row_ = 0, output_ = 0, output_row_ = 0;
    int64_t destination_ = 0, destination_row_ = 0, second_ = 0, second_row_ = 0;
    int64_t y_ = 0, y_start_ = 0, x_ = 0, x_start_ = 0;
    int64_t wx_left_ = 0, wy_left_ = 0, columns_left_ = 0, rows_left_ = 0;

    // Whether the offered position may read: no sum is overtaken, the epilogue is as it wants it.
    bool may_start(int64_t t) const {
        return offers_ && (offered_.sums || t > last_sum_ + sum_latency_) &&
               (offered_.epilogue ? prepared_ : !through_);
    }
    bool wants_second() const { return offered_.add && offered_.last && !second_done_; }
    bool wants(int source) const {
        return may_ && offered_.inside && int(offered_.scratchpad) == source;
    }

    // Offer the next position and move on.
    void emit() {
        const Vector& op = *op_;
        const bool window_row = wx_left_ == 1, output = window_row && wy_left_ == 1;
        const bool output_row = output && columns_left_ == 1, final = output_row && rows_left_ == 1;
        const bool inside = y_ >= 0 && y_ < op.height && x_ >= 0 && x_ < op.width;
        offers_ = true;
        offered_ = {row_, destination_, second_, op.signal,
                    op.source == int64_t(VectorSource::SCRATCHPAD), inside, output, final,
                    op.reduce >= int64_t(VectorReduce::SUM), op.add != 0,
                    op.add != 0 || op.table != 0};
        if (final) {
            op_ = nullptr;
        } else if (output_row) {
            row_ = window_row_ = output_ = output_row_ = (output_row_ + op.row_stride) & kRowMask;
            destination_ = destination_row_ =
                (destination_row_ + op.destination_row_stride) & kRowMask;
            second_ = second_row_ = (second_row_ + op.second_row_stride) & kRowMask;
            y_ = y_start_ = y_start_ + op.step_y;
            x_ = x_start_ = op.left;
            wx_left_ = op.window_columns, wy_left_ = op.window_rows;
            columns_left_ = op.columns, --rows_left_;
        } else if (output) {
            row_ = window_row_ = output_ = (output_ + op.column_stride) & kRowMask;
            destination_ = (destination_ + op.destination_column_stride) & kRowMask;
            second_ = (second_ + op.second_column_stride) & kRowMask;
            y_ = y_start_;
            x_ = x_start_ = x_start_ + op.step_x;
            wx_left_ = op.window_columns, wy_left_ = op.window_rows;
            --columns_left_;
        } else if (window_row) {
            row_ = window_row_ = (window_row_ + op.window_row_stride) & kRowMask;
            ++y_;
            x_ = x_start_;
            wx_left_ = op.window_columns, --wy_left_;
        } else {
            row_ = (row_ + op.window_column_stride) & kRowMask;
            ++x_;
            --wx_left_;
        }
    }
};

}  // namespace timing
