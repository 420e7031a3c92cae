// VECTOR: hw/tpu/vector/{vector,address}.py without data. Results never wait: the vector unit
// writes first, so that a row is written a fixed number of cycles after the last read of its window.
#pragma once

#include "parts.h"

namespace timing {

class VectorUnit {
public:
    explicit VectorUnit(const Sizes& sizes)
        : latency_(sizes.vector_latency), banks_(sizes.bank_rows),
          bank_bit_(log2_of(sizes.accumulator_rows)) {
        for (Write& slot : writes_) slot.when = -1;
    }

    Completed completed;
    bool ready = true;           // takes a command in this cycle
    bool busy = false, stalled = false;  // in this cycle

    // What the offered position wants to read in this cycle, or kNoBank.
    int accumulator_bank() const { return wants(0) ? int(offered_.row >> bank_bit_ & 1) : kNoBank; }
    int scratchpad_bank() const { return wants(1) ? banks_.of(offered_.row) : kNoBank; }

    // The scratchpad bank written in cycle `t`, or kNoBank.
    int write_bank(int64_t t) const {
        const Write& slot = writes_[t & 15];
        return slot.when == t ? slot.bank : kNoBank;
    }

    // Everything but the intake of a command; `refused`: the wanted bank is taken.
    bool step(int64_t t, bool refused) {
        bool moved = completed.valid;
        completed.valid = false;
        const Write& slot = writes_[t & 15];
        if (slot.when == t && slot.final) completed = {true, slot.signal};
        moved |= t <= last_write_;

        const bool reads = offers_ && offered_.inside;
        const bool issue = offers_ && !refused;
        busy = reads && !refused;
        stalled = reads && refused;
        moved |= offers_;
        if (issue) {
            if (offered_.last) {
                last_write_ = t + latency_;
                writes_[last_write_ & 15] = {last_write_, banks_.of(offered_.destination),
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
        y_ = y_start_ = op.top;
        x_ = x_start_ = op.left;
        wx_left_ = op.window_columns, wy_left_ = op.window_rows;
        columns_left_ = op.columns, rows_left_ = op.rows;
    }

private:
    struct Position {
        int64_t row, destination, signal;
        bool scratchpad, inside, last, final;
    };
    struct Write {
        int64_t when;
        int bank;
        bool final;
        int64_t signal;
    };
    int64_t latency_;
    Banks banks_;
    int bank_bit_;
    const Vector* op_ = nullptr;
    bool offers_ = false;
    Position offered_{};
    Write writes_[16];
    int64_t last_write_ = -1;
    int64_t row_ = 0, window_row_ = 0, output_ = 0, output_row_ = 0;
    int64_t destination_ = 0, destination_row_ = 0, y_ = 0, y_start_ = 0, x_ = 0, x_start_ = 0;
    int64_t wx_left_ = 0, wy_left_ = 0, columns_left_ = 0, rows_left_ = 0;

    bool wants(int source) const {
        return offers_ && offered_.inside && int(offered_.scratchpad) == source;
    }

    // Offer the next position and move on.
    void emit() {
        const Vector& op = *op_;
        const bool window_row = wx_left_ == 1, output = window_row && wy_left_ == 1;
        const bool output_row = output && columns_left_ == 1, final = output_row && rows_left_ == 1;
        const bool inside = y_ >= 0 && y_ < op.height && x_ >= 0 && x_ < op.width;
        offers_ = true;
        offered_ = {row_, destination_, op.signal, op.source == int64_t(VectorSource::SCRATCHPAD),
                    inside, output, final};
        if (final) {
            op_ = nullptr;
        } else if (output_row) {
            row_ = window_row_ = output_ = output_row_ = (output_row_ + op.row_stride) & kRowMask;
            destination_ = destination_row_ =
                (destination_row_ + op.destination_row_stride) & kRowMask;
            y_ = y_start_ = y_start_ + op.step_y;
            x_ = x_start_ = op.left;
            wx_left_ = op.window_columns, wy_left_ = op.window_rows;
            columns_left_ = op.columns, --rows_left_;
        } else if (output) {
            row_ = window_row_ = output_ = (output_ + op.column_stride) & kRowMask;
            destination_ = (destination_ + op.destination_column_stride) & kRowMask;
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
