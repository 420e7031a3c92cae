// The AXI memory's timing without its contents: the rules of sim/rtl/axi_memory.h.
#pragma once

#include "period.h"

namespace timing {

struct Bucket {
    int64_t credit, rate, cap, cost;
    void tick(int64_t cycles) { credit = std::min(cap, credit + cycles * rate); }
    bool ready() const { return credit >= cost; }
    // Ticks until `ready`.
    int64_t wait() const { return ready() ? 0 : (cost - credit + rate - 1) / rate; }
};

// What the memory shows in a cycle; decided in the cycle before. One word, because a struct of
// bytes just written is slow to copy.
struct Pins {
    unsigned ar_ready : 1, aw_ready : 1, w_ready : 1, r_valid : 1, r_last : 1, b_valid : 1;
};

class Memory {
public:
    explicit Memory(const Sizes& sizes) : latency_(sizes.latency), jitter_(sizes.jitter) {
        const int64_t cost = sizes.bus_bytes << 16, cap = cost + sizes.rate - 1;
        read_bucket_ = write_bucket_ = {cap, sizes.rate, cap, cost};
        random_ = uint64_t(sizes.seed) * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
        pins = {true, true, false, false, false, false};
    }

    Pins pins;

    // The master's side of cycle `t`: addresses with their beats (0: none), whether a write beat
    // was offered. Sets `pins` for the next cycle; true if anything but time has changed.
    bool step(int64_t t, int read_beats, int write_beats, bool beat) {
        bool moved = pins.r_valid | pins.b_valid;
        if (!moved && t < quiet_until_ && !(read_beats | write_beats) && !(beat && pins.w_ready)) {
            skip(1);
            return false;
        }
        quiet_until_ = 0;
        if (read_beats && pins.ar_ready) {
            reads_.push({t + latency_ + wait(), read_beats});
            moved = true;
        }
        if (write_beats && pins.aw_ready) {
            writes_.push(write_beats);
            moved = true;
        }
        if (beat && pins.w_ready) {
            write_bucket_.credit -= write_bucket_.cost;
            if (--writes_.front() == 0) {
                answers_.push(t + latency_ + wait());
                writes_.pop();
            }
            moved = true;
        }
        if (pins.r_valid && --reads_.front().beats == 0) reads_.pop();
        if (pins.b_valid) answers_.pop();

        read_bucket_.tick(1);
        write_bucket_.tick(1);
        Pins next{};
        next.r_valid = !reads_.empty() && t + 1 >= reads_.front().due && read_bucket_.ready() && !gap();
        if (next.r_valid) {
            next.r_last = reads_.front().beats == 1;
            read_bucket_.credit -= read_bucket_.cost;
        }
        next.b_valid = !answers_.empty() && t + 1 >= answers_.front() && !gap();
        next.ar_ready = reads_.size() < kBursts && !gap();
        next.aw_ready = writes_.size() < kBursts && !gap();
        next.w_ready =
            !writes_.empty() && answers_.size() < kBursts && write_bucket_.ready() && !gap();
        moved |= next.r_valid | next.b_valid | (next.w_ready != pins.w_ready) | (jitter_ != 0);
        pins = next;
        if (!moved) quiet_until_ = next_event(t);
        return moved;
    }

    // The first cycle after `t` whose `step` may change something by itself.
    int64_t next_event(int64_t t) const {
        int64_t event = kNever;
        if (!reads_.empty())
            event = std::min(event, std::max(reads_.front().due - 1, t + read_bucket_.wait()));
        if (!answers_.empty()) event = std::min(event, answers_.front() - 1);
        if (!writes_.empty() && !pins.w_ready) event = std::min(event, t + write_bucket_.wait());
        return std::max(event, t + 1);
    }

    // `cycles` in which nothing happened.
    void skip(int64_t cycles) {
        read_bucket_.tick(cycles);
        write_bucket_.tick(cycles);
    }

    bool deterministic() const { return jitter_ == 0; }

    void describe(Snapshot& state) const {
        for (bool pin : {bool(pins.ar_ready), bool(pins.aw_ready), bool(pins.w_ready),
                         bool(pins.r_valid), bool(pins.r_last), bool(pins.b_valid)})
            state.put(pin);
        state.put(read_bucket_.credit), state.put(write_bucket_.credit);
        for (int size : {reads_.size(), writes_.size(), answers_.size()}) state.put(size);
        for (int i = 0; i < reads_.size(); ++i)
            state.put_time(reads_.at(i).due), state.put(reads_.at(i).beats);
    }

    void leap(const Leap& leap) {
        for (int i = 0; i < reads_.size(); ++i) reads_.at(i).due += leap.cycles;
        quiet_until_ = 0;
    }

private:
    static constexpr int kBursts = 64;
    struct Read {
        int64_t due;
        int beats;
    };
    int64_t latency_, jitter_;
    uint64_t random_;
    int64_t quiet_until_ = 0;  // until then nothing happens by itself
    Bucket read_bucket_, write_bucket_;
    Ring<Read, kBursts> reads_;
    Ring<int, kBursts> writes_;
    Ring<int64_t, kBursts> answers_;

    uint64_t random() {
        random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
        return random_ >> 11;
    }
    int64_t wait() { return jitter_ ? int64_t(random() % uint64_t(jitter_ + 1)) : 0; }
    bool gap() { return jitter_ && (random() & 3) == 0; }
};

}  // namespace timing
