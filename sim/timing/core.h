// The core cycle by cycle, as hw/tpu/core.py connects it; cycles in which only time passes and the
// array streams are taken at once.
#pragma once

#include <vector>

#include "dispatch.h"
#include "fetch.h"
#include "load.h"
#include "matmul.h"
#include "memory.h"
#include "store.h"
#include "vector.h"

namespace timing {

// A strobe of a queue (started or done), or a new state of the array.
struct Event {
    int64_t cycle, what;
};

class Core {
public:
    Core(const Sizes& sizes, const Words* program, int64_t length)
        : program_(program), dispatcher_(sizes, program, length), memory_(sizes), reader_(sizes),
          fetch_(sizes, sizes.program, length), weights_(sizes), load_(sizes), matmul_(sizes),
          vector_(sizes), store_(sizes), faults_(sizes), burst_(sizes.burst_beats) {}

    int64_t counters[kCounters] = {};
    std::vector<Event> events;
    bool recording = false;

    // Run to HALT or to what stops the core.
    Report run() {
        for (int64_t t = 0;; ) {
            bool moved = cycle(t);
            if (dispatcher_.stop.code) break;
            int64_t next = t + 1;
            if (!moved && !dispatcher_.halted) {
                next = next_event(t);
                if (next == kNever) {
                    dispatcher_.stop = dispatcher_.stuck();
                    break;
                }
                memory_.skip(next - t - 1);
            }
            count(next - t);
            if (matmul_.begins) next += leap(t);
            if (dispatcher_.halted && ++after_halt_ == 2) break;
            t = next;
        }
        counters[Counter::instructions] = dispatcher_.dispatched;
        return dispatcher_.stop;
    }

private:
    const Words* program_;
    Dispatcher dispatcher_;
    Memory memory_;
    ReadArbiter reader_;
    Fetch fetch_;
    WeightFifo weights_;
    LoadUnit load_;
    MatmulSequencer matmul_;
    VectorUnit vector_;
    StoreUnit store_;
    Faults faults_;
    int after_halt_ = 0;
    bool read_waits_ = false;
    int64_t array_state_ = int64_t(ArrayState::IDLE);

    template <typename Op>
    const Op& at(int64_t position) const {
        return *reinterpret_cast<const Op*>(program_[position]);
    }

    int64_t next_event(int64_t t) const {
        return std::min({memory_.next_event(t), weights_.next_event(), matmul_.next_event(t)});
    }

    // `cycles` like the last one; what moves things is counted where it happens.
    void count(int64_t cycles) {
        counters[Counter::cycles] += cycles;
        if (matmul_.streaming) {
            counters[Counter::array_active] += cycles;
            counters[Counter::useful_macs] += matmul_.macs * cycles;
        } else if (matmul_.starving) {
            counters[Counter::weight_stall] += cycles;
        } else if (dispatcher_.waiting(kMatmul)) {
            counters[Counter::input_stall] += cycles;
        }
        if (vector_.busy) counters[Counter::vector_busy] += cycles;
        if (vector_.stalled) counters[Counter::vector_stall] += cycles;
        if (dispatcher_.waiting(kLoad)) counters[Counter::load_wait] += cycles;
        if (dispatcher_.waiting(kVector)) counters[Counter::vector_wait] += cycles;
        if (dispatcher_.waiting(kStore)) counters[Counter::store_wait] += cycles;
        if (read_waits_) counters[Counter::read_wait] += cycles;
    }

    // At the begin of a pass in cycle `t`: cycles to leave out because they repeat earlier ones.
    int64_t leap(int64_t t) {
        if (disturbed_ || recording || !memory_.deterministic()) history_.clear();
        disturbed_ = false;
        Snapshot& now = history_.next();
        now.clear();
        now.time = t;
        memory_.describe(now);
        reader_.describe(now);
        load_.describe(now);
        weights_.describe(now);
        matmul_.describe(now);
        std::copy(counters, counters + kCounters, now.counters);
        for (int i = 0; i < history_.size(); ++i) {
            const Snapshot& before = history_.at(i);
            if (!now.same(before)) continue;
            const Leap one{t - before.time, now.pass - before.pass,
                           before.rows_left - now.rows_left, before.beats_left - now.beats_left};
            int64_t periods = matmul_.repetitions(before.pass);
            // a LOAD's last row and last burst differ from the others
            if (one.rows) periods = std::min(periods, (now.rows_left - 2) / one.rows);
            if (one.beats) periods = std::min(periods, (now.beats_left - burst_ - 1) / one.beats);
            if (one.rows < 0 || one.beats < 0 || periods < 1) continue;
            const Leap all{one.cycles * periods, one.passes * periods, one.rows * periods,
                           one.beats * periods};
            memory_.leap(all), load_.leap(all), weights_.leap(all), matmul_.leap(all);
            for (int c = 0; c < kCounters; ++c)
                counters[c] += (counters[c] - before.counters[c]) * periods;
            history_.clear();
            return all.cycles;
        }
        history_.keep();
        return 0;
    }

    // One cycle; false if the next ones are the same until `next_event`.
    bool cycle(int64_t t) {
        const Pins pins = memory_.pins;
        const bool finished = load_.completed.valid | matmul_.completed.valid |
                              vector_.completed.valid | store_.completed.valid;
        Completed done[kQueues];
        if (finished) {
            done[kLoad] = load_.completed, done[kMatmul] = matmul_.completed;
            done[kVector] = vector_.completed, done[kStore] = store_.completed;
        }
        // the bus for reading
        const bool free = reader_.free(pins.ar_ready);
        const bool to_fetch = free && fetch_.queue.valid;
        const bool to_load = free && !fetch_.queue.valid && load_.queue.valid;
        const int client = pins.r_valid ? reader_.client() : -1;
        read_waits_ = reader_.outstanding() && !pins.r_valid;
        const int read_beats = reader_.valid ? reader_.beats : 0;
        const int requested = to_fetch ? fetch_.queue.beats : load_.queue.beats;
        const int write_beats = store_.queue.address_beats();
        const bool write_beat = store_.queue.offers();

        // rows
        bool moved = matmul_.step(t, weights_);
        const int second = vector_.second_bank(t);
        vector_.hold(t, second != kNoBank && matmul_.reads(t, second));
        const int drained = vector_.accumulator_bank(), read = vector_.scratchpad_bank();
        const int stored = store_.wants(), written = vector_.write_bank(t);
        const bool drain_refused = drained != kNoBank && matmul_.adds(t, drained);
        const bool read_refused =
            read != kNoBank && (read == second || matmul_.reads(t, read));
        const bool store_refused =
            stored != kNoBank &&
            (stored == read || stored == second || matmul_.reads(t, stored));
        // units that did not move sleep until something reaches them
        const bool vector = vector_.step(t, drain_refused || read_refused);
        moved |= vector;
        if (store_awake_ || pins.b_valid || pins.aw_ready != last_.aw_ready ||
            pins.w_ready != last_.w_ready)
            moved |= store_awake_ = store_.step(store_refused, pins);
        if (load_awake_ || to_load || client == 1)
            moved |= load_awake_ = load_.step(to_load, client == 1, written, weights_);
        const bool weights = weights_.step(t, load_.accepted, matmul_.takes_tile);
        load_awake_ |= weights;
        moved |= weights;
        last_ = pins;

        // instructions
        const bool ready[kQueues] = {load_.ready, matmul_.ready, vector_.ready, store_.ready};
        bool takes = false;
        for (int i = 0; i < kQueues; ++i) takes |= ready[i] && dispatcher_.full(i);
        bool give = false;
        if (dispatcher_.awake | finished | takes) {
            dispatcher_.step(fetch_.valid(), ready, done);
            give = dispatcher_.gave;
            for (int i = 0; i < kQueues; ++i) begin(t, i);
        }
        if (give || fetch_awake_ || to_fetch || client == 0) {
            fetch_awake_ = fetch_.step(t, to_fetch, client == 0, give);
            dispatcher_.awake |= fetch_awake_;
        }
        moved |= dispatcher_.awake | fetch_awake_;
        disturbed_ |= dispatcher_.awake | fetch_awake_ | store_awake_ | vector;

        // the bus
        if (to_fetch | to_load | (pins.r_valid & pins.r_last) | (reader_.valid & pins.ar_ready)) {
            reader_.step(pins.ar_ready, pins.r_valid && pins.r_last,
                         to_fetch ? 0 : to_load ? 1 : -1, requested);
            moved = true;
        }
        moved |= memory_.step(t, read_beats, write_beats, write_beat);

        counters[Counter::dram_read_beats] += pins.r_valid;
        counters[Counter::dram_write_beats] += write_beat && pins.w_ready;
        if (recording) record(t, done);
        return moved;
    }

    void begin(int64_t t, int queue) {
        const int64_t position = dispatcher_.begun[queue];
        if (position < 0) return;
        const Report fault = queue == kMatmul   ? faults_.matmul(at<Matmul>(position))
                             : queue == kVector ? faults_.vector(at<Vector>(position))
                                                : faults_.transfer(at<Load>(position));
        if (fault.code)
            dispatcher_.stop = {fault.code, position, at<Load>(position).tag, fault.detail};
        if (queue == kLoad) load_.start(at<Load>(position)), load_awake_ = true;
        if (queue == kMatmul) matmul_.start(at<Matmul>(position));
        if (queue == kVector) vector_.start(at<Vector>(position));
        if (queue == kStore) store_.start(at<Load>(position)), store_awake_ = true;
        if (recording) events.push_back({t, 2 * queue});
    }

    void record(int64_t t, const Completed* done) {
        for (int i = 0; i < kQueues; ++i)
            if (done[i].valid) events.push_back({t, 2 * i + 1});
        const int64_t state = matmul_.streaming  ? int64_t(ArrayState::STREAMING)
                              : matmul_.starving ? int64_t(ArrayState::WAITING_FOR_WEIGHTS)
                              : dispatcher_.waiting(kMatmul)
                                  ? int64_t(ArrayState::WAITING_FOR_SEMAPHORE)
                                  : int64_t(ArrayState::IDLE);
        if (state != array_state_) events.push_back({t, 2 * kQueues + state});
        array_state_ = state;
    }

    History history_;
    bool disturbed_ = true;
    int64_t burst_;
    bool load_awake_ = true, store_awake_ = true, fetch_awake_ = true;
    Pins last_{};
};

}  // namespace timing
