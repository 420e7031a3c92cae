// LOAD and STORE.
#pragma once

#include "machine.h"

namespace native {

// DRAM bytes that a transfer covers, if all exist.
inline bool in_dram(const Machine& machine, const Load& i, Range& bytes) {
    bytes = range(i.address, {{i.lines, i.dram_line_stride}, {i.rows, i.dram_row_stride}});
    bytes.high += i.row_bytes;
    return bytes.low >= 0 && bytes.high <= machine.dram_bytes &&
           i.lane + i.row_bytes <= machine.array;
}

inline bool place_rows(const Load& i, int64_t& base, int64_t limit) {
    return place(base, limit, kRowBits,
                 {{i.lines, row_distance(i.line_stride)}, {i.rows, row_distance(i.row_stride)}});
}

// `rows` rows of `i` between DRAM and the chip; where they coincide the last one stays.
template <typename Copy>
void each_row(const Load& i, int64_t base, int64_t line_stride, int64_t row_stride, Copy copy) {
    for (int64_t line = 0; line < i.lines; ++line)
        for (int64_t row = 0; row < i.rows; ++row)
            copy(i.address + line * i.dram_line_stride + row * i.dram_row_stride,
                 base + line * line_stride + row * row_stride);
}

// Rows from DRAM to `target`; whole consecutive rows go at once.
inline void copy_rows(const Machine& machine, const Load& i, int8_t* target, int64_t base,
                      int64_t line_stride, int64_t row_stride, bool fill) {
    const int64_t n = machine.array;
    const int8_t* dram = at<int8_t>(machine.dram);
    if (i.row_bytes == n && row_stride == 1 && i.dram_row_stride == n) {
        for (int64_t line = 0; line < i.lines; ++line)
            std::memcpy(target + (base + line * line_stride) * n,
                        dram + i.address + line * i.dram_line_stride, size_t(i.rows * n));
        return;
    }
    each_row(i, base, line_stride, row_stride, [&](int64_t from, int64_t row) {
        if (fill && i.row_bytes < n) std::memset(target + row * n, int(i.fill), size_t(n));
        std::memcpy(target + row * n + i.lane, dram + from, size_t(i.row_bytes));
    });
}

inline bool load(const Machine& machine, Weights& weights, const Load& i) {
    Range bytes;
    if (!in_dram(machine, i, bytes)) return false;
    if (LoadMemory(i.memory) == LoadMemory::WEIGHTS) {
        if (i.lines * i.rows > kMostRows) return false;
        int8_t* target = weights.append(size_t(i.lines * i.rows * machine.array));
        copy_rows(machine, i, target, 0, i.rows, 1, true);
        return true;
    }
    int8_t* target = at<int8_t>(machine.scratchpad);
    int64_t limit = machine.scratchpad_rows, base = i.base;
    if (LoadMemory(i.memory) == LoadMemory::PARAMETERS)
        target = at<int8_t>(machine.parameters), limit = machine.parameter_subrows;
    else if (LoadMemory(i.memory) == LoadMemory::LANES)
        target = at<int8_t>(machine.lanes), limit = machine.lane_rows;
    if (!place_rows(i, base, limit)) return false;
    copy_rows(machine, i, target, base, row_distance(i.line_stride), row_distance(i.row_stride),
              i.fill_others != 0);
    return true;
}

inline bool store(const Machine& machine, const Load& i) {
    Range bytes;
    int64_t base = i.base;
    if (!in_dram(machine, i, bytes) || !place_rows(i, base, machine.scratchpad_rows)) return false;
    // what changes the program is for one who reads it anew after each instruction
    if (bytes.low < machine.program + machine.program_bytes && bytes.high > machine.program)
        return false;
    const int64_t n = machine.array;
    const int8_t* source = at<int8_t>(machine.scratchpad) + i.lane;
    int8_t* dram = at<int8_t>(machine.dram);
    each_row(i, base, row_distance(i.line_stride), row_distance(i.row_stride),
             [&](int64_t to, int64_t row) {
                 std::memcpy(dram + to, source + row * n, size_t(i.row_bytes));
             });
    return true;
}

}  // namespace native
