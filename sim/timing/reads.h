// Reading ahead and sharing the bus: hw/tpu/dma/{read_queue,read_arbiter}.py without data.
#pragma once

#include "transfer.h"

namespace timing {

class ReadQueue {
public:
    explicit ReadQueue(int64_t depth) : free_(int(depth)) {}

    bool valid = false;  // a request is offered
    int beats = 0;
    BufferedLevel fifo;

    bool takes(const BurstSplitter& splitter, bool granted) const {
        return splitter.active && (!valid || granted) && free_ >= splitter.beats;
    }

    // One cycle; true if anything changed.
    bool step(const BurstSplitter& splitter, bool take, bool granted, bool response, bool read) {
        const bool given = fifo.out && read;
        if (granted) valid = false;
        if (take) valid = true, beats = splitter.beats;
        free_ += int(given) - (take ? splitter.beats : 0);
        return fifo.step(response, read) | granted | take;
    }

    void describe(Snapshot& state) const {
        for (int value : {int(valid), beats, free_, fifo.inner, int(fifo.out)}) state.put(value);
    }

private:
    int free_;
};

// Client 0 goes first; the order of the bursts is the order of the beats.
class ReadArbiter {
public:
    explicit ReadArbiter(const Sizes& sizes) : depth_(int(sizes.order_depth)) {}

    bool valid = false;  // an address is on the bus
    int beats = 0;

    bool outstanding() const { return valid || !order_.empty(); }
    bool free(bool ar_ready) const { return (!valid || ar_ready) && order_.size() != depth_; }
    int client() const { return order_.front(); }

    // One cycle: `granted` is the client whose request of `wanted` beats is taken, or -1.
    void step(bool ar_ready, bool last_beat, int granted, int wanted) {
        if (last_beat) order_.pop();
        if (ar_ready) valid = false;
        if (granted >= 0) valid = true, beats = wanted, order_.push(int8_t(granted));
    }

    void describe(Snapshot& state) const {
        state.put(valid), state.put(beats), state.put(order_.size());
        for (int i = 0; i < order_.size(); ++i) state.put(order_.at(i));
    }

private:
    int depth_;
    Ring<int8_t, 4096> order_;
};

}  // namespace timing
