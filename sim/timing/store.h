// STORE: hw/tpu/dma/{store,gearbox,write_queue}.py without data.
#pragma once

#include "transfer.h"

namespace timing {

// Rows to beats: a beat comes three cycles after the row that completes it.
class Packer {
public:
    explicit Packer(const Sizes& sizes) : chunks_(int(sizes.packer_chunks)) {}

    bool ready(int touched) const { return reserved_ + touched <= chunks_; }
    bool offers() const { return complete_ != 0; }

    // One cycle: `finished` beats of a row taken (0 and more; -1 for no row), a beat given.
    bool step(int finished, bool give) {
        const bool changed = finished >= 0 || give || arriving_ >= 0 || shifting_ >= 0;
        reserved_ += std::max(finished, 0) - int(give);
        complete_ += std::max(shifting_, 0) - int(give);
        shifting_ = arriving_;
        arriving_ = finished;
        return changed;
    }

private:
    int chunks_, reserved_ = 0, complete_ = 0, arriving_ = -1, shifting_ = -1;
};

// Bursts and their beats on the write port.
class WriteQueue {
public:
    explicit WriteQueue(const Sizes& sizes)
        : depth_(int(sizes.write_depth)), outstanding_(int(sizes.write_outstanding)) {}

    bool room() const { return fifo_.inner != depth_ - 1; }
    bool begins(const BurstSplitter& splitter, bool aw_ready) const {
        return splitter.active && (!valid_ || aw_ready) && answers_.size() != outstanding_ &&
               here_ >= splitter.beats;
    }
    int address_beats() const { return valid_ ? beats_ : 0; }
    bool offers() const { return sending_ && fifo_.out; }
    // The burst answered in this cycle is the last of its transfer.
    bool answers_last() const { return !answers_.empty() && answers_.front(); }

    bool step(const BurstSplitter& splitter, bool begin, bool store, const Pins& pins) {
        const bool sent = offers() && pins.w_ready, ends = sent && left_ == 0;
        const bool next = !sending_ || ends;
        bool changed = begin | store | sent | pins.b_valid;
        here_ += int(store) - (begin ? splitter.beats : 0);
        if (next) {
            changed |= sending_ | !lengths_.empty();
            sending_ = !lengths_.empty();
            if (sending_) left_ = lengths_.front() - 1, lengths_.pop();
        } else if (sent) {
            --left_;
        }
        if (valid_ && pins.aw_ready) lengths_.push(beats_), valid_ = false, changed = true;
        if (begin) valid_ = true, beats_ = splitter.beats;
        if (pins.b_valid && !answers_.empty()) answers_.pop();
        if (begin) answers_.push(splitter.last);
        return changed | fifo_.step(store, sent);
    }

private:
    int depth_, outstanding_, here_ = 0, beats_ = 0, left_ = 0;
    bool valid_ = false, sending_ = false;
    BufferedLevel fifo_;
    Ring<int, 1024> lengths_;
    Ring<bool, 1024> answers_;
};

class StoreUnit {
public:
    explicit StoreUnit(const Sizes& sizes)
        : queue(sizes),
          walker_(sizes),
          packer_(sizes),
          splitter_(sizes),
          contexts_(int(sizes.outstanding_bursts)),
          banks_(sizes.bank_rows) {}

    WriteQueue queue;
    Completed completed;
    bool ready = true;  // takes a command in this cycle

    // The bank wanted in this cycle, or kNoBank.
    int wants() const {
        return walker_.active && packer_.ready(walker_.touched) ? banks_.of(walker_.row)
                                                                : kNoBank;
    }

    // Everything but the intake of a command; `refused`: the wanted bank is taken.
    bool step(bool refused, const Pins& pins) {
        bool moved = completed.valid | refused;
        completed.valid = false;
        if (pins.b_valid && queue.answers_last()) {
            completed = {true, origins_.front()->signal};
        }
        ready = transfers_.size() != kTransfers && origins_.size() != contexts_;
        if (completed.valid) origins_.pop();

        const bool row = wants() != kNoBank && !refused;
        const bool beat = packer_.offers() && queue.room();
        const int finished = row ? walker_.finished : -1;
        if (row) walker_.advance();
        ready &= !walker_.active;
        moved |= packer_.step(finished, beat);

        const bool burst = queue.begins(splitter_, pins.aw_ready);
        const bool segment = splitter_.ready(burst);
        const bool transfer = segments_.ready(segment) && !transfers_.empty();
        moved |= queue.step(splitter_, burst, beat, pins);
        moved |= splitter_.step(burst, segment && segments_.valid ? &segments_.segment : nullptr);
        moved |= segments_.step(segment);
        if (transfer) segments_.start(*transfers_.front()), transfers_.pop();
        return moved | transfer;
    }

    void start(const Load& op) {
        walker_.start(op);
        transfers_.push(&op);
        origins_.push(&op);
    }

private:
    static constexpr int kTransfers = 2;
    RowWalker walker_;
    Packer packer_;
    SegmentGenerator segments_;
    BurstSplitter splitter_;
    Ring<const Load*, kTransfers> transfers_;
    Ring<const Load*, 256> origins_;
    int contexts_;
    Banks banks_;
};

}  // namespace timing
