// LOAD and STORE as rows and as bursts: hw/tpu/dma/{transfer,segments,bursts}.py without data.
#pragma once

#include "period.h"

namespace timing {

inline bool contiguous(const Load& op) { return op.dram_row_stride == op.row_bytes; }

// The rows of a transfer, in order; `touched` and `finished` beats of the current one.
class RowWalker {
public:
    explicit RowWalker(const Sizes& sizes) : bus_(uint32_t(sizes.bus_bytes)), log_(log2_of(bus_)) {}

    const Load* op = nullptr;
    bool active = false;
    int64_t row = 0;
    int touched = 0, finished = 0;

    bool last() const { return rows_left_ == 1 && lines_left_ == 1; }

    void start(const Load& next) {
        op = &next;
        active = true;
        contiguous_ = contiguous(next);
        row = line_row_ = next.base;
        offset_ = line_offset_ = uint32_t(next.address);
        rows_left_ = next.rows, lines_left_ = next.lines;
        measure();
    }

    void advance() {
        if (last()) {
            active = false;
            return;
        }
        if (rows_left_ == 1) {
            row = line_row_ = (line_row_ + op->line_stride) & kRowMask;
            offset_ = line_offset_ = line_offset_ + uint32_t(op->dram_line_stride);
            rows_left_ = op->rows, --lines_left_;
        } else {
            row = (row + op->row_stride) & kRowMask;
            offset_ += uint32_t(op->dram_row_stride);
            --rows_left_;
        }
        measure();
    }

    void describe(Snapshot& state) const {
        state.put_pointer(op);
        for (int64_t value : {int64_t(active), int64_t(touched), int64_t(finished), lines_left_,
                              int64_t(offset_ & (bus_ - 1))})
            state.put(value);
        state.rows_left = active ? rows_left_ : 0;
    }

    void leap(const Leap& leap) {
        if (!active) return;
        row = (row + leap.rows * op->row_stride) & kRowMask;
        offset_ += uint32_t(leap.rows * op->dram_row_stride);
        rows_left_ -= leap.rows;
    }

private:
    uint32_t bus_;
    int log_;
    bool contiguous_ = false;
    int64_t line_row_ = 0, rows_left_ = 0, lines_left_ = 0;
    uint32_t offset_ = 0, line_offset_ = 0;

    void measure() {
        const uint32_t end = (offset_ & (bus_ - 1)) + uint32_t(op->row_bytes);
        touched = int((end + bus_ - 1) >> log_);
        finished = contiguous_ && rows_left_ != 1 ? int(end >> log_) : touched;
    }
};

// A contiguous piece of DRAM.
struct Segment {
    int64_t offset, length;
    bool last;
};

// Segments, one per cycle, two cycles after their transfer.
class SegmentGenerator {
public:
    bool valid = false;
    Segment segment{};

    // Whether a transfer is taken in this cycle, if `ready` is what the splitter says.
    bool ready(bool taken) const { return !active_ || (steps(taken) && last()); }
    bool idle() const { return !active_ && !valid; }

    bool step(bool taken) {
        const bool moves = steps(taken), changed = moves | (valid & taken);
        if (taken) valid = false;
        if (!moves) return changed;
        valid = true;
        segment = {offset_, contiguous_ ? op_->rows * op_->row_bytes : op_->row_bytes, last()};
        if (line_done()) {
            active_ = !last();
            rows_left_ = op_->rows, --lines_left_;
            offset_ = line_offset_ = line_offset_ + op_->dram_line_stride;
        } else {
            --rows_left_;
            offset_ += op_->dram_row_stride;
        }
        return true;
    }

    void start(const Load& next) {
        op_ = &next;
        active_ = true;
        contiguous_ = contiguous(next);
        offset_ = line_offset_ = next.address;
        rows_left_ = next.rows, lines_left_ = next.lines;
    }

    void describe(Snapshot& state) const {
        state.put_pointer(op_);
        for (int64_t value : {int64_t(active_), int64_t(valid), rows_left_, lines_left_})
            state.put(value);
    }

private:
    const Load* op_ = nullptr;
    bool active_ = false, contiguous_ = false;
    int64_t offset_ = 0, line_offset_ = 0, rows_left_ = 0, lines_left_ = 0;

    bool steps(bool taken) const { return active_ && (!valid || taken); }
    bool line_done() const { return contiguous_ || rows_left_ == 1; }
    bool last() const { return line_done() && lines_left_ == 1; }
};

// Segments to bursts, one per cycle.
class BurstSplitter {
public:
    explicit BurstSplitter(const Sizes& sizes)
        : log_(log2_of(sizes.bus_bytes)), burst_(sizes.burst_beats) {}

    bool active = false, last = false;
    int beats = 0;

    bool final() const { return left_ == beats; }
    bool ready(bool taken) const { return !active || (taken && final()); }

    // One cycle: a burst was `taken`, a segment arrives (or none).
    bool step(bool taken, const Segment* segment) {
        if (taken) {
            active = !final();
            index_ += beats, left_ -= beats;
        }
        if (segment) {
            active = true;
            const int64_t mask = (int64_t(1) << log_) - 1;
            index_ = segment->offset >> log_;
            left_ = ((segment->offset & mask) + segment->length + mask) >> log_;
            last_segment_ = segment->last;
        }
        if (taken || segment) {
            beats = int(std::min(left_, burst_ - (index_ & (burst_ - 1))));
            last = final() && last_segment_;
        }
        return taken || segment;
    }

    void describe(Snapshot& state) const {
        for (int64_t value : {int64_t(active), int64_t(last), int64_t(last_segment_),
                              int64_t(beats), index_ & (burst_ - 1)})
            state.put(value);
        state.beats_left = active ? left_ : 0;
    }

    void leap(const Leap& leap) { index_ += leap.beats, left_ -= leap.beats; }

private:
    int log_;
    int64_t burst_, index_ = 0, left_ = 0;
    bool last_segment_ = false;
};

}  // namespace timing
