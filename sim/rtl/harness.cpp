// The native inner loop of a Verilated design: clock, AXI4 memory, AXI4-Lite master, sampling.
//
// It knows pins, never instructions. One cycle is two eval() calls: clock low (combinational
// outputs settle on the inputs chosen after the last edge; left out if no input is new), then
// everything is sampled, then clock high. The memory's answers are registered: what it samples in
// cycle t it drives from cycle t+1 on. Python calls the extern "C" functions at the end; see
// model.py for their types.

// Verilator's makefile may compile user files for size; this loop must be fast.
#pragma GCC optimize("O3")

#include "Vtop.h"
#include "Vtop___024root.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif
#if VM_TRACE
#ifdef DUMP_FST
#include "verilated_fst_c.h"
using Waves = VerilatedFstC;
#else
#include "verilated_vcd_c.h"
using Waves = VerilatedVcdC;
#endif
#endif

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "array_stand_in.h"
#include "axi_memory.h"

// What Vtop::eval() does for a model that has begun and writes no waves; around it there, a lock
// for messages that the design does not have.
void Vtop___024root___eval(Vtop___024root* root);

namespace {

enum Reason : int { kLimit = 0, kIrq = 1, kViolation = 2 };

template <typename Pin>
inline void store_pin(Pin& pin, const uint8_t* bytes) {
    std::memcpy(&pin, bytes, sizeof(Pin));  // little-endian words, as Verilator lays them out
}

constexpr size_t kDataBytes = sizeof(std::remove_reference_t<decltype(Vtop::M_AXI(rdata))>);
constexpr uint64_t kRegisterTimeout = 100000;

template <typename Top>
constexpr size_t event_bytes() {
    if constexpr (requires(Top& t) { t.trace_o; })
        return sizeof(std::remove_reference_t<decltype(Top::trace_o)>);
    else
        return 0;
}

constexpr size_t kEventWords = (event_bytes<Vtop>() + 7) / 8;

// A port `witness` has flags in its low 16 bits; its value is kept for each cycle that has one.
template <typename Top>
constexpr size_t witness_bytes() {
    if constexpr (requires(Top& t) { t.witness; })
        return sizeof(std::remove_reference_t<decltype(Top::witness)>);
    else
        return 0;
}

// Lets the next eval() see a rising clock though the clock did not fall; false if it cannot.
template <typename Root>
inline bool forget_high_clock(Root* root) {
    if constexpr (requires { root->__Vtrigprevexpr___TOP__clk__0; }) {
        root->__Vtrigprevexpr___TOP__clk__0 = 0;
        return true;
    }
    return false;
}

// Arrays that a model asks for in its first eval() belong to the harness that makes it.
thread_local std::vector<std::unique_ptr<systolica::Array>>* arrays_of_new_model = nullptr;

struct Harness {
    std::vector<std::unique_ptr<systolica::Array>> arrays;
    // A context of its own: in the default one, opening waves would touch every other model,
    // those already deleted included.
    std::unique_ptr<VerilatedContext> context;
    std::unique_ptr<Vtop> top;
    systolica::AxiMemory<kDataBytes> memory;
    uint64_t cycle = 0;
    bool recording = false;
    bool fresh = true;  // the first value after recording starts is an event
    std::vector<uint64_t> events;  // rows of (cycle, value words)
    uint64_t last_event[kEventWords + 1] = {};
    std::vector<uint8_t> witnessed;
#if VM_TRACE
    std::unique_ptr<Waves> waves;
#endif

    Harness() : context(std::make_unique<VerilatedContext>()) {
        context->traceEverOn(true);
        top = std::make_unique<Vtop>(context.get(), "TOP");
        arrays_of_new_model = &arrays;
        top->eval();
        arrays_of_new_model = nullptr;
    }

    template <typename Top>
    void sample_events(Top* t) {
        if constexpr (event_bytes<Top>() > 0) {
            uint64_t now[kEventWords] = {};
            std::memcpy(now, &t->trace_o, event_bytes<Top>());
            if (fresh || std::memcmp(now, last_event, sizeof now) != 0) {
                fresh = false;
                std::memcpy(last_event, now, sizeof now);
                events.push_back(cycle);
                events.insert(events.end(), now, now + kEventWords);
            }
        }
    }

    template <typename Top>
    void witness(Top* t) {
        if constexpr (witness_bytes<Top>() > 0) {
            uint16_t flags;
            std::memcpy(&flags, &t->witness, sizeof flags);
            if (flags == 0) return;
            const auto* bytes = reinterpret_cast<const uint8_t*>(&t->witness);
            witnessed.insert(witnessed.end(), bytes, bytes + witness_bytes<Top>());
        }
    }

    void dump(uint64_t half) {
#if VM_TRACE
        if (waves) waves->dump(cycle * 10 + half * 5);
#endif
    }

    template <bool kWaves>
    inline void evaluate() {
        if (kWaves)
            top->eval();
        else
            Vtop___024root___eval(top->rootp);
    }

    // First half: the clock falls, the memory's pins are driven, outputs settle.
    template <bool kWaves>
    inline void settle(bool pins_may_differ = true) {
        pins_may_differ |= memory.drive(*top, [](auto& pin, const uint8_t* b) { store_pin(pin, b); });
        // Without new inputs all has settled with the last edge.
        if (!kWaves && !pins_may_differ && forget_high_clock(top->rootp)) return;
        top->clk = 0;
        evaluate<kWaves>();
        if (kWaves) dump(0);
    }

    // Second half: everything is sampled, then the clock rises.
    template <bool kWaves>
    inline void edge() {
        if (recording) sample_events(top.get());
        witness(top.get());
        memory.sample(*top, cycle);
        top->clk = 1;
        evaluate<kWaves>();
        if (kWaves) dump(1);
        ++cycle;
    }

    bool waving() const {
#if VM_TRACE
        return waves != nullptr;
#else
        return false;
#endif
    }

    void settle_any() { waving() ? settle<true>() : settle<false>(); }
    void edge_any() { waving() ? edge<true>() : edge<false>(); }

    template <bool kWaves>
    int loop(uint64_t limit, bool until_irq) {
        const uint64_t end = cycle + limit;
        for (bool first = true; cycle < end; first = false) {
            settle<kWaves>(first);  // the register port's pins hold still from here on
            const bool irq = top->irq;
            edge<kWaves>();
            if (__builtin_expect(memory.violated(), 0)) return kViolation;
            if (until_irq && irq) return kIrq;
        }
        return kLimit;
    }

    int run(uint64_t limit, bool until_irq) {
        if (memory.violated()) return kViolation;
        return waving() ? loop<true>(limit, until_irq) : loop<false>(limit, until_irq);
    }

    void reset(uint64_t cycles) {
        memory.clear();
        top->rst = 1;
        top->S_AXI(awvalid) = top->S_AXI(wvalid) = top->S_AXI(arvalid) = 0;
        top->S_AXI(bready) = top->S_AXI(rready) = 0;
        memory.in_reset = true;
        for (uint64_t i = 0; i < cycles; ++i) settle_any(), edge_any();
        memory.in_reset = false;
        top->rst = 0;
    }

    // AXI4-Lite write: 0..3 is the response, -1 no answer, -2 an AXI violation meanwhile.
    int write_register(uint32_t address, uint32_t value) {
        top->S_AXI(awaddr) = address;
        top->S_AXI(wdata) = value;
        top->S_AXI(wstrb) = 0xf;
        top->S_AXI(awvalid) = top->S_AXI(wvalid) = top->S_AXI(bready) = 1;
        for (uint64_t i = 0; i < kRegisterTimeout; ++i) {
            settle_any();
            const bool aw = top->S_AXI(awvalid) && top->S_AXI(awready);
            const bool w = top->S_AXI(wvalid) && top->S_AXI(wready);
            const bool b = top->S_AXI(bvalid);
            const int response = top->S_AXI(bresp);
            edge_any();
            if (aw) top->S_AXI(awvalid) = 0;
            if (w) top->S_AXI(wvalid) = 0;
            if (b) top->S_AXI(bready) = 0;
            if (memory.violated()) return -2;
            if (b) return response;
        }
        top->S_AXI(awvalid) = top->S_AXI(wvalid) = top->S_AXI(bready) = 0;
        return -1;
    }

    // AXI4-Lite read: responses as above, the word through `value`.
    int read_register(uint32_t address, uint32_t* value) {
        top->S_AXI(araddr) = address;
        top->S_AXI(arvalid) = top->S_AXI(rready) = 1;
        for (uint64_t i = 0; i < kRegisterTimeout; ++i) {
            settle_any();
            const bool ar = top->S_AXI(arvalid) && top->S_AXI(arready);
            const bool r = top->S_AXI(rvalid);
            const int response = top->S_AXI(rresp);
            *value = top->S_AXI(rdata);
            edge_any();
            if (ar) top->S_AXI(arvalid) = 0;
            if (r) top->S_AXI(rready) = 0;
            if (memory.violated()) return -2;
            if (r) return response;
        }
        top->S_AXI(arvalid) = top->S_AXI(rready) = 0;
        return -1;
    }
};

}  // namespace

extern "C" {

// Called by the model, see array_stand_in.py.
void* array_new(int n) {
    arrays_of_new_model->push_back(systolica::make_array(n));
    return arrays_of_new_model->back().get();
}

void array_step(void* array, unsigned char take, unsigned char shift, const uint32_t* tile_row,
                const uint32_t* row, uint32_t* result) {
    static_cast<systolica::Array*>(array)->step(take, shift, tile_row, row, result);
}

// The thread's current context may be one that h_close deleted: call before constructing anything.
void h_default_context() { Verilated::threadContextp(Verilated::defaultContextp()); }

Harness* h_open() { return new Harness; }
Vtop* h_model(Harness* h) { return h->top.get(); }

void h_close(Harness* h) {
#if VM_TRACE
    if (h->waves) h->waves->close();
#endif
    delete h;
    Verilated::threadContextp(Verilated::defaultContextp());
}

// rate is in 1/65536 bytes per cycle.
void h_memory(Harness* h, uint8_t* dram, uint64_t bytes, uint64_t latency, uint64_t rate,
              uint64_t jitter, uint64_t seed) {
    h->memory.configure(dram, bytes, latency, rate, jitter, seed);
}

void h_fault(Harness* h, uint64_t first, uint64_t last, int write, int response) {
    h->memory.faults.push_back({first, last, write != 0, static_cast<uint8_t>(response)});
}

void h_fail_beat(Harness* h, int write, uint64_t number, int response) {
    h->memory.fail_beat(write != 0, number, static_cast<uint8_t>(response));
}

void h_kill(Harness* h, int channel, uint64_t handshakes) { h->memory.kill(channel, handshakes); }
void h_clear_faults(Harness* h) { h->memory.heal(); }
uint64_t h_failed_at(Harness* h) { return h->memory.failed_at; }
uint64_t h_under_way(Harness* h) { return h->memory.under_way(); }
void h_reset(Harness* h, uint64_t cycles) { h->reset(cycles); }
int h_run(Harness* h, uint64_t limit, int until_irq) { return h->run(limit, until_irq != 0); }
uint64_t h_cycle(Harness* h) { return h->cycle; }
const char* h_violation(Harness* h) { return h->memory.violation; }
int h_write(Harness* h, uint32_t a, uint32_t v) { return h->write_register(a, v); }
int h_read(Harness* h, uint32_t a, uint32_t* v) { return h->read_register(a, v); }
int h_irq(Harness* h) { return h->top->irq; }
uint64_t h_traffic(Harness* h, int write) {
    return write ? h->memory.bytes_written : h->memory.bytes_read;
}

void h_record(Harness* h, int on) { h->recording = h->fresh = on != 0; }
uint64_t h_event_words(Harness*) { return kEventWords; }
uint64_t h_event_count(Harness* h) { return h->events.size() / (kEventWords + 1); }
const uint64_t* h_events(Harness* h) { return h->events.data(); }
void h_clear_events(Harness* h) { h->events.clear(); }

uint64_t h_witness_bytes(Harness*) { return witness_bytes<Vtop>(); }
uint64_t h_witnessed(Harness* h) { return h->witnessed.size(); }
const uint8_t* h_witness(Harness* h) { return h->witnessed.data(); }
void h_clear_witness(Harness* h) { h->witnessed.clear(); }

int h_waves(Harness* h, const char* path) {
#if VM_TRACE
    h->waves = std::make_unique<Waves>();
    h->top->trace(h->waves.get(), 99);
    h->waves->open(path);
    return h->waves->isOpen();
#else
    return 0;
#endif
}

// Counts of every coverage point so far; 0 without coverage in the model.
int h_coverage(Harness* h, const char* path) {
#if VM_COVERAGE
    h->context->coveragep()->write(path);
    return 1;
#else
    return 0;
#endif
}

void h_flush_waves(Harness* h) {
#if VM_TRACE
    if (h->waves) h->waves->flush();
#endif
}
}
