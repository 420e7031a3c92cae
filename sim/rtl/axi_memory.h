// An AXI4 slave memory with latency, bandwidth, jitter and faults, and a checker of its master.
//
// Timing contract (MemoryTiming in sim/memory.py names the parameters; the timing simulator
// repeats these rules):
//   - An address accepted in cycle t gives its first beat in cycle t+latency at the earliest;
//     later beats follow one per cycle. Bursts are answered in order, without gaps between
//     bursts whose latency has passed.
//   - A write beat is accepted from the cycle after its address on; the response comes
//     `latency` cycles after the last beat.
//   - A beat waits until its channel's bucket holds one bus word of credit. The bucket gains
//     `rate` per cycle and holds less than one word and one cycle's gain.
//   - kQueue bursts may wait on each channel; a full queue drops its ready.
//
// Faults: addresses that answer with an error, the n-th beat that does, channels that die.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

// Verilator writes the second of two underscores in a pin's name as _05F.
#define M_AXI(pin) m_axi___05F##pin
#define S_AXI(pin) s_axi___05F##pin

namespace systolica {

enum : uint8_t { kOkay = 0, kSlverr = 2, kDecerr = 3 };

struct Fault {
    uint64_t first, last;  // byte addresses, both included
    bool write;
    uint8_t response;
};

enum Channel : uint32_t { kAr, kAw, kW, kR, kB, kChannels };

struct Burst {
    uint64_t address;
    uint64_t due;  // first cycle in which it may be answered
    uint32_t beats, done;
    uint8_t size, id, response;
    bool checked;  // some beat may be answered with an error: look at each
};

// Fixed ring: no allocation in the loop.
struct BurstQueue {
    static constexpr uint32_t kQueue = 64;
    Burst slots[kQueue];
    uint32_t head = 0, count = 0;

    bool empty() const { return count == 0; }
    bool full() const { return count == kQueue; }
    Burst& front() { return slots[head]; }
    Burst& push() { return slots[(head + count++) % kQueue]; }
    void pop() { head = (head + 1) % kQueue, --count; }
    void clear() { head = count = 0; }
};

struct Bucket {
    uint64_t credit = 0, rate = 0, cap = 0, cost = 0;
    void tick() {
        credit += rate;
        if (credit > cap) credit = cap;
    }
    bool ready() const { return credit >= cost; }
    void spend() { credit -= cost; }
};

// The address channel's payload while valid waits for ready.
struct Held {
    bool waiting = false;
    uint64_t address = 0;
    uint32_t rest = 0;
};

template <size_t kBytes>
class AxiMemory {
public:
    std::vector<Fault> faults;
    bool in_reset = true;
    uint64_t bytes_read = 0, bytes_written = 0;
    char violation[256] = "";

    uint64_t failed_at = ~0ull;  // address of the beat that `fail_beat` chose, once it came

    // The `number`-th beat from now on (the next one is 1) is answered with `response`.
    void fail_beat(bool write, uint64_t number, uint8_t response) {
        fail_in_[write] = number, fail_response_ = response, failed_at = ~0ull;
    }

    // After `handshakes` more the channel answers nothing, until `heal`; 0: from now on.
    void kill(uint32_t channel, uint64_t handshakes) {
        left_[channel] = handshakes;
        if (handshakes == 0) dead_ |= 1u << channel;
    }

    void heal() {
        faults.clear();
        fail_in_[0] = fail_in_[1] = 0;
        for (uint64_t& left : left_) left = 0;
        dead_ = 0;
    }

    uint32_t under_way() const { return reads_.count + writes_.count + answers_.count; }

    bool violated() const { return violation[0] != 0; }

    void configure(uint8_t* dram, uint64_t size, uint64_t latency, uint64_t rate, uint64_t jitter,
                   uint64_t seed) {
        dram_ = dram, size_ = size, latency_ = latency, jitter_ = jitter;
        random_ = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
        for (Bucket* b : {&read_bucket_, &write_bucket_}) {
            b->cost = uint64_t(kBytes) << 16;
            b->rate = rate;
            b->cap = b->cost + rate - 1;
        }
        clear();
    }

    // As after power-up, the contents of the memory excepted.
    void clear() {
        reads_.clear(), writes_.clear(), answers_.clear();
        r_valid_ = b_valid_ = ar_ready_ = aw_ready_ = w_ready_ = false;
        held_ar_ = held_aw_ = Held{};
        held_w_ = false;
        read_bucket_.credit = read_bucket_.cap;
        write_bucket_.credit = write_bucket_.cap;
        violation[0] = 0;
        changed_ = true;
    }

    // Put this cycle's answers on the pins; `store` copies little-endian bytes to a wide pin. False
    // when the pins are those of the cycle before.
    template <typename Top, typename Store>
    inline bool drive(Top& t, Store store) {
        if (!changed_) return false;
        changed_ = false;
        t.M_AXI(arready) = ar_ready_;
        t.M_AXI(awready) = aw_ready_;
        t.M_AXI(wready) = w_ready_;
        t.M_AXI(rvalid) = r_valid_;
        if (r_valid_) {
            store(t.M_AXI(rdata), word_);
            t.M_AXI(rresp) = r_resp_;
            t.M_AXI(rlast) = r_last_;
            t.M_AXI(rid) = r_id_;
        }
        t.M_AXI(bvalid) = b_valid_;
        if (b_valid_) {
            t.M_AXI(bresp) = answers_.front().response;
            t.M_AXI(bid) = answers_.front().id;
        }
        return true;
    }

    // Take the master's pins of cycle `now` and decide what to drive in cycle `now + 1`.
    template <typename Top>
    inline void sample(Top& t, uint64_t now) {
        if (in_reset) return;
        now_ = now;
        const bool ar = t.M_AXI(arvalid), aw = t.M_AXI(awvalid), w = t.M_AXI(wvalid);
        if (ar | held_ar_.waiting)
            address(held_ar_, ar, ar_ready_, t.M_AXI(araddr), t.M_AXI(arlen), t.M_AXI(arsize),
                    t.M_AXI(arburst), t.M_AXI(arid), reads_, false);
        if (aw | held_aw_.waiting)
            address(held_aw_, aw, aw_ready_, t.M_AXI(awaddr), t.M_AXI(awlen), t.M_AXI(awsize),
                    t.M_AXI(awburst), t.M_AXI(awid), writes_, true);
        if (w | held_w_) write_data(t, w);
        if (r_valid_ && t.M_AXI(rready)) r_taken();
        if (b_valid_ && t.M_AXI(bready)) {
            count(kB);
            answers_.pop();
            b_valid_ = false;
            changed_ = true;
        }
        advance(now + 1);
    }

private:
    uint8_t* dram_ = nullptr;
    uint64_t size_ = 0, latency_ = 1, jitter_ = 0, random_ = 1, now_ = 0;
    BurstQueue reads_, writes_, answers_;
    Bucket read_bucket_, write_bucket_;
    bool ar_ready_ = false, aw_ready_ = false, w_ready_ = false;
    bool r_valid_ = false, b_valid_ = false, r_last_ = false, changed_ = true;
    uint8_t r_resp_ = 0, r_id_ = 0;
    alignas(64) uint8_t word_[kBytes];
    Held held_ar_, held_aw_;
    bool held_w_ = false, held_w_last_ = false;
    uint64_t held_w_strobe_ = 0;
    alignas(64) uint8_t held_w_data_[kBytes];

    uint64_t fail_in_[2] = {}, left_[kChannels] = {};
    uint8_t fail_response_ = kSlverr;
    uint32_t dead_ = 0;  // a bit for each channel

    // A handshake; a count of 0 wraps and never comes back to 0.
    void count(uint32_t channel) {
        if (--left_[channel] == 0) dead_ |= 1u << channel;
    }
    bool alive(uint32_t channel) const { return (dead_ >> channel & 1) == 0; }

    // Whether the beat at `at` is the chosen one.
    bool fails(bool write, uint64_t at) {
        if (__builtin_expect(fail_in_[write] == 0, 1) || --fail_in_[write] != 0) return false;
        failed_at = at;
        return true;
    }

    uint64_t random() {  // xorshift64
        random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
        return random_ >> 11;
    }
    uint64_t wait() { return jitter_ ? random() % (jitter_ + 1) : 0; }
    bool gap() { return jitter_ && (random() & 3) == 0; }

    __attribute__((noinline, cold, format(printf, 2, 3))) void violate(const char* format, ...) {
        if (violated()) return;  // the first one is the cause
        int n = std::snprintf(violation, sizeof violation, "cycle %llu: ", (unsigned long long)now_);
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(violation + n, sizeof violation - n, format, arguments);
        va_end(arguments);
    }

    void address(Held& held, bool valid, bool ready, uint64_t at, uint32_t len, uint32_t size,
                 uint32_t burst, uint32_t id, BurstQueue& queue, bool write) {
        const char* name = write ? "AW" : "AR";
        const uint32_t rest = len | size << 8 | burst << 11 | id << 13;
        if (held.waiting) {
            if (!valid) return violate("%sVALID fell before %sREADY", name, name);
            if (at != held.address || rest != held.rest)
                return violate("%s payload changed while %sVALID waited for %sREADY", name, name, name);
        }
        held = {valid && !ready, at, rest};
        if (!valid || !ready) return;
        count(write ? kAw : kAr);
        const uint64_t bytes = uint64_t(len + 1) << size;
        const uint64_t first = at >> size << size;
        if (burst != 1) return violate("%sBURST is %u, not INCR", name, burst);
        if ((1u << size) > kBytes) return violate("%sSIZE is %u bytes, the bus %zu", name, 1u << size, kBytes);
        if (first >> 12 != (first + bytes - 1) >> 12)
            return violate("%s burst crosses 4 KiB: address %#llx, %u beats of %u bytes", name,
                           (unsigned long long)at, len + 1, 1u << size);
        Burst& b = queue.push();
        b = {at, now_ + latency_ + wait(), len + 1, 0, uint8_t(size), uint8_t(id), kOkay,
             first + bytes > size_ || !faults.empty()};
    }

    static uint64_t beat_address(const Burst& b) {
        if (b.done == 0) return b.address;
        return (b.address >> b.size << b.size) + (uint64_t(b.done) << b.size);
    }

    __attribute__((noinline)) uint8_t response(const Burst& b, uint64_t at, bool write) const {
        const uint64_t last = (at >> b.size << b.size) + (1u << b.size) - 1;
        if (last >= size_) return kDecerr;
        for (const Fault& f : faults)
            if (f.write == write && at <= f.last && last >= f.first) return f.response;
        return kOkay;
    }

    template <typename Top>
    void write_data(Top& t, bool valid) {
        uint64_t strobe = 0;
        std::memcpy(&strobe, &t.M_AXI(wstrb), sizeof t.M_AXI(wstrb));
        const auto* data = reinterpret_cast<const uint8_t*>(&t.M_AXI(wdata));
        const bool last = t.M_AXI(wlast);
        if (held_w_) {
            if (!valid) return violate("WVALID fell before WREADY");
            if (strobe != held_w_strobe_ || last != held_w_last_ ||
                std::memcmp(data, held_w_data_, kBytes) != 0)
                return violate("W payload changed while WVALID waited for WREADY");
        }
        held_w_ = valid && !w_ready_;
        if (held_w_) {
            held_w_strobe_ = strobe, held_w_last_ = last;
            std::memcpy(held_w_data_, data, kBytes);
        }
        if (!valid || !w_ready_) return;
        Burst& b = writes_.front();
        if (last != (b.done + 1 == b.beats))
            return violate("WLAST is %d at beat %u of %u", last, b.done + 1, b.beats);
        const uint64_t at = beat_address(b), base = at & ~uint64_t(kBytes - 1);
        uint8_t error = b.checked ? response(b, at, true) : uint8_t(kOkay);
        if (fails(true, at)) error = fail_response_;
        count(kW);
        write_bucket_.spend();
        bytes_written += 1u << b.size;
        if (error == kOkay) {
            if (strobe == ~uint64_t(0) >> (64 - kBytes))
                std::memcpy(dram_ + base, data, kBytes);
            else
                for (size_t i = 0; i < kBytes; ++i)
                    if (strobe >> i & 1) dram_[base + i] = data[i];
        } else if (b.response == kOkay) {
            b.response = error;
        }
        if (++b.done == b.beats) {
            Burst& answer = answers_.push();
            answer = b;
            answer.due = now_ + latency_ + wait();
            writes_.pop();
        }
    }

    void r_taken() {
        count(kR);
        r_valid_ = false;
        changed_ = true;
        if (++reads_.front().done == reads_.front().beats) reads_.pop();
    }

    // What the pins show in cycle `next`.
    inline void advance(uint64_t next) {
        read_bucket_.tick();
        write_bucket_.tick();
        if (!r_valid_ && !reads_.empty() && next >= reads_.front().due && read_bucket_.ready() &&
            alive(kR) && !gap())
            present();
        if (!b_valid_ && !answers_.empty() && next >= answers_.front().due && alive(kB) && !gap())
            b_valid_ = changed_ = true;
        set(ar_ready_, !reads_.full() && alive(kAr) && !gap());
        set(aw_ready_, !writes_.full() && alive(kAw) && !gap());
        // A full answer queue must not be pushed: the last beat waits.
        set(w_ready_, !writes_.empty() && !answers_.full() && write_bucket_.ready() && alive(kW) &&
                          !gap());
    }

    void set(bool& pin, bool value) {
        if (pin != value) pin = value, changed_ = true;
    }

    void present() {
        Burst& b = reads_.front();
        const uint64_t at = beat_address(b), base = at & ~uint64_t(kBytes - 1);
        r_resp_ = b.checked ? response(b, at, false) : uint8_t(kOkay);
        if (fails(false, at)) r_resp_ = fail_response_;
        if (r_resp_ == kOkay)
            std::memcpy(word_, dram_ + base, kBytes);
        else
            std::memset(word_, 0xee, kBytes);  // a master that ignores the error computes nonsense
        r_last_ = b.done + 1 == b.beats;
        r_id_ = b.id;
        r_valid_ = changed_ = true;
        read_bucket_.spend();
        bytes_read += 1u << b.size;
    }
};

}  // namespace systolica
