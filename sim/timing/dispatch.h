// From fetched instructions to the units: hw/tpu/{dispatch,queues,semaphores}.py.
#pragma once

#include "faults.h"

namespace timing {

constexpr int kQueues = 4;
constexpr int kLoad = int(Queue::LOAD), kMatmul = int(Queue::MATMUL),
              kVector = int(Queue::VECTOR), kStore = int(Queue::STORE);
constexpr int kSemaphores = 16;
constexpr int64_t kSemaphoreMax = 255;

class Semaphores {
public:
    // The lower queue number goes first: call in that order, then `settle`.
    bool grant(int64_t mask) {
        if (mask & (~available_ | taken_)) return false;
        taken_ |= mask;
        return true;
    }

    void signal(int64_t mask) {
        while (mask) {
            ++counts_[__builtin_ctzll(uint64_t(mask))];
            changed_ |= mask;
            mask &= mask - 1;
        }
    }

    // The end of a cycle; a bit for each count that has passed its maximum.
    int64_t settle() {
        int64_t over = 0;
        changed_ |= taken_;
        for (int64_t left = changed_; left; left &= left - 1) {
            const int number = __builtin_ctzll(uint64_t(left));
            const int64_t bit = int64_t(1) << number;
            counts_[number] -= (taken_ & bit) != 0;
            available_ = counts_[number] ? available_ | bit : available_ & ~bit;
            if (counts_[number] > kSemaphoreMax) over |= bit;
        }
        taken_ = changed_ = 0;
        return over;
    }

private:
    int64_t counts_[kSemaphores] = {}, available_ = 0, taken_ = 0, changed_ = 0;
};

class Dispatcher {
public:
    Dispatcher(const Sizes& sizes, const Words* program, int64_t length)
        : program_(program), length_(length), depth_(int(sizes.queue_depth)) {}

    bool awake = true;    // something may change in this cycle without a unit
    bool halted = false;
    bool gave = false;    // took the instruction on offer in this cycle
    int begun[kQueues];   // instructions that units take in this cycle, or -1
    Report stop{};        // what stops the core, if its code is not 0
    int64_t dispatched = 0;

    bool waiting(int queue) const { return queues_[queue].waiting; }
    // A granted instruction waits for its unit.
    bool full(int queue) const { return queues_[queue].full; }

    // One cycle: whether fetch offers an instruction, which units take one, which complete one.
    void step(bool offered, const bool* ready, const Completed* done) {
        const int to = dispatch(offered, done);
        bool moved = gave;
        for (int i = 0; i < kQueues; ++i) {
            CommandQueue& queue = queues_[i];
            begun[i] = -1;
            if (queue.full && ready[i]) begun[i] = queue.held, queue.full = false, moved = true;
            queue.waiting = false;
            if (!queue.fifo.empty() && !queue.full) {
                const int head = queue.fifo.front();
                queue.waiting = !semaphores_.grant(header(head).wait);
                if (!queue.waiting) {
                    queue.held = head, queue.full = true, moved = true;
                    queue.fifo.pop();
                }
            }
            if (done[i].valid) semaphores_.signal(done[i].signal), moved = true;
        }
        if (to >= 0) queues_[to].fifo.push(int(dispatched) - 1);
        if (const int64_t over = semaphores_.settle())
            stop = {int64_t(Error::SEMAPHORE_OVERFLOW), dispatched, 0, over};
        awake = moved;
    }

    // Nothing moves any more: blame the first waiting queue, else the next instruction.
    Report stuck() const {
        for (const CommandQueue& queue : queues_)
            if (queue.waiting) return blame(Error::WATCHDOG, queue.fifo.front());
        return {int64_t(Error::WATCHDOG), dispatched, 0, 0};
    }

    Report blame(Error code, int64_t position) const {
        return {int64_t(code), position, header(position).tag, 0};
    }

private:
    // Instruction numbers between dispatch and a unit, and the gate that takes their semaphores.
    struct CommandQueue {
        Ring<int, 1024> fifo;
        bool full = false;     // a granted command waits for its unit
        int held = 0;
        bool waiting = false;  // the head lacks a semaphore in this cycle
        int64_t in_flight = 0;
    };
    const Words* program_;
    int64_t length_;
    int depth_;
    CommandQueue queues_[kQueues];
    Semaphores semaphores_;

    // What all formats begin with.
    const Load& header(int64_t position) const {
        return *reinterpret_cast<const Load*>(program_[position]);
    }

    // The queue that an instruction goes to, or -1; queues are as at the begin of the cycle.
    int dispatch(bool offered, const Completed* done) {
        bool idle = true;
        for (const CommandQueue& queue : queues_) idle &= queue.in_flight == 0;
        for (int i = 0; i < kQueues; ++i) queues_[i].in_flight -= done[i].valid;
        gave = false;
        if (!offered || halted) {
            if (dispatched == length_ && !halted && idle)
                stop = {int64_t(Error::NO_HALT), dispatched, 0, 0};
            return -1;
        }
        const int64_t opcode = program_[dispatched][0];
        if (opcode < 0) {
            stop = blame(Error(-opcode), dispatched);
            return -1;
        }
        const int queue = queue_of(opcode);
        gave = queue < 0 ? idle : queues_[queue].fifo.size() != depth_;
        if (!gave) return -1;
        ++dispatched;
        halted = opcode == int64_t(Opcode::HALT);
        if (queue >= 0) ++queues_[queue].in_flight;
        return queue;
    }
};

}  // namespace timing
