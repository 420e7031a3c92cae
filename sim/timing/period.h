// Passes that repeat: when, from the begin of one pass of the array to the begin of another, the
// core came back to the same state and only loops counted on, whole periods are taken at once.
#pragma once

#include <cstring>

#include "parts.h"

namespace timing {

// The state of the units that work while passes repeat, times as distances from now. What only
// counts on stands beside it.
class Snapshot {
public:
    int64_t time = 0, pass = 0, rows_left = 0, beats_left = 0;
    int64_t counters[kCounters];

    void clear() { size_ = 0; }
    void put(int64_t value) {
        if (size_ < kWords) words_[size_] = value;
        ++size_;
    }
    void put_pointer(const void* pointer) { put(int64_t(reinterpret_cast<intptr_t>(pointer))); }
    void put_time(int64_t when) { put(when == kNever ? kNever : when - time); }

    bool same(const Snapshot& other) const {
        return size_ == other.size_ && size_ <= kWords &&
               std::memcmp(words_, other.words_, sizeof(int64_t) * size_) == 0;
    }

private:
    static constexpr int kWords = 512;
    int64_t words_[kWords];
    int size_ = 0;
};

// How far `periods` repetitions carry the loops and the clock.
struct Leap {
    int64_t cycles, passes, rows, beats;
};

// The last few begins of passes, while nothing but passes and a LOAD went on.
class History {
public:
    Snapshot& next() { return snapshots_[(head_ + count_) % kKept]; }
    int size() const { return count_; }
    // Newest first.
    const Snapshot& at(int index) const {
        return snapshots_[(head_ + count_ - 1 - index) % kKept];
    }
    void keep() {
        if (count_ == kKept - 1)
            head_ = (head_ + 1) % kKept;
        else
            ++count_;
    }
    void clear() { head_ = count_ = 0; }

private:
    static constexpr int kKept = 9;  // one is being written
    Snapshot snapshots_[kKept];
    int head_ = 0, count_ = 0;
};

}  // namespace timing
