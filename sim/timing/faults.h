// What a unit will find wrong with an instruction. The model looks when the instruction starts, the
// core when it comes to the row: code, instruction, tag and row are the same, the cycle is not.
#pragma once

#include "parts.h"

namespace timing {

struct Report {
    int64_t code, position, tag, detail;
};

class Faults {
public:
    explicit Faults(const Sizes& sizes) : sizes_(sizes) {}

    // LOAD or STORE.
    Report transfer(const Load& op) const {
        const int64_t lanes_end = op.lane + op.row_bytes;
        if (lanes_end > sizes_.array) return report(Error::ILLEGAL_OPERAND, lanes_end);
        const auto memory = LoadMemory(op.memory);
        const bool parameters = memory == LoadMemory::PARAMETERS || memory == LoadMemory::LANES;
        const int64_t limit = memory == LoadMemory::WEIGHTS      ? kNever
                              : memory == LoadMemory::PARAMETERS ? sizes_.parameter_subrows
                              : memory == LoadMemory::LANES      ? sizes_.lane_rows
                                                                 : sizes_.scratchpad_rows;
        const Range dram = range(op.address, {op.lines, op.dram_line_stride},
                                 {op.rows, op.dram_row_stride});
        const Range rows = range(op.base, {op.lines, signed_row(op.line_stride)},
                                 {op.rows, signed_row(op.row_stride)});
        const int64_t last = std::min(sizes_.dram_bytes, (int64_t(1) << 32) - 1) - op.row_bytes;
        if (dram.low >= 0 && dram.high <= last && (rows.within(limit) || limit == kNever))
            return {};
        for (int64_t l = 0; l < op.lines; ++l)
            for (int64_t r = 0; r < op.rows; ++r) {
                const int64_t at = op.address + l * op.dram_line_stride + r * op.dram_row_stride;
                if (at < 0 || at > last) return report(Error::DRAM_RANGE, at & 0xffffffff);
            }
        for (int64_t l = 0; l < op.lines; ++l)
            for (int64_t r = 0; r < op.rows; ++r) {
                const int64_t row = (op.base + l * op.line_stride + r * op.row_stride) & kRowMask;
                if (row >= limit)
                    return report(parameters ? Error::PARAMETER_RANGE : Error::SCRATCHPAD_RANGE,
                                  row);
            }
        return {};
    }

    // In program order: a tile must have been taken before one is kept.
    Report matmul(const Matmul& op) {
        if (op.keep && !has_tile_) return report(Error::ILLEGAL_OPERAND, 0);
        has_tile_ = true;
        const int64_t total = 2 * sizes_.accumulator_rows;
        bool fine = range(op.accumulator, {op.batches, signed_half(op.accumulator_batch_stride)},
                          {op.rows, signed_half(op.accumulator_row_stride)},
                          {op.columns, signed_half(op.accumulator_column_stride)})
                        .within(total);
        for (int64_t ky = 0; ky < op.kernel_rows && fine; ++ky)
            for (int64_t kx = 0; kx < op.kernel_columns && fine; ++kx) {
                const Inside y{op.top + ky * op.dilation_y, op.step_y, op.rows, op.height};
                const Inside x{op.left + kx * op.dilation_x, op.step_x, op.columns, op.width};
                if (!y.count || !x.count) continue;
                const int64_t row = signed_row(op.row_stride), column = signed_row(op.column_stride);
                fine = range(signed_row(op.source) + ky * signed_row(op.kernel_row_stride) +
                                 kx * signed_row(op.kernel_column_stride) + y.first * row +
                                 x.first * column,
                             {op.channel_blocks, signed_row(op.channel_stride)},
                             {op.batches, signed_row(op.batch_stride)}, {y.count, row},
                             {x.count, column})
                           .within(sizes_.scratchpad_rows);
            }
        if (fine) return {};
        for (int64_t c = 0; c < op.channel_blocks; ++c)
            for (int64_t ky = 0; ky < op.kernel_rows; ++ky)
                for (int64_t kx = 0; kx < op.kernel_columns; ++kx) {
                    const Report found = pass(op, c, ky, kx);
                    if (found.code) return found;
                }
        return {};
    }

    Report vector(const Vector& op) const {
        const bool scratchpad = op.source == int64_t(VectorSource::SCRATCHPAD);
        const int64_t limit = scratchpad ? sizes_.scratchpad_rows : 2 * sizes_.accumulator_rows;
        if (op.convert == int64_t(VectorConvert::REQUANTISE) &&
            op.parameters >= sizes_.parameter_entries)
            return report(Error::PARAMETER_RANGE, op.parameters);
        if (op.add && op.second_parameters >= sizes_.parameter_entries)
            return report(Error::PARAMETER_RANGE, op.second_parameters);
        if (op.table && 256 * (op.table_number + 1) > sizes_.lane_rows)
            return report(Error::PARAMETER_RANGE, 256 * op.table_number);
        const bool weighs = op.reduce == int64_t(VectorReduce::MULTIPLY_ACCUMULATE);
        const int64_t row = signed_row(op.row_stride), column = signed_row(op.column_stride);
        bool fine = range(op.destination, {op.rows, signed_row(op.destination_row_stride)},
                          {op.columns, signed_row(op.destination_column_stride)})
                        .within(sizes_.scratchpad_rows);
        if (op.add)
            fine &= range(op.second, {op.rows, signed_row(op.second_row_stride)},
                          {op.columns, signed_row(op.second_column_stride)})
                        .within(sizes_.scratchpad_rows);
        fine &= !weighs || op.weights + op.window_rows * op.window_columns <= sizes_.lane_rows;
        for (int64_t wy = 0; wy < op.window_rows && fine; ++wy)
            for (int64_t wx = 0; wx < op.window_columns && fine; ++wx) {
                const Inside y{op.top + wy, op.step_y, op.rows, op.height};
                const Inside x{op.left + wx, op.step_x, op.columns, op.width};
                if (!y.count || !x.count) continue;
                fine = range(signed_row(op.base) + wy * signed_row(op.window_row_stride) +
                                 wx * signed_row(op.window_column_stride) + y.first * row +
                                 x.first * column,
                             {y.count, row}, {x.count, column})
                           .within(limit);
            }
        for (int64_t i = 0; i < op.rows * op.columns && !fine; ++i) {
            const int64_t r = i / op.columns, c = i % op.columns;
            for (int64_t w = 0; w < op.window_rows * op.window_columns; ++w) {
                const int64_t wy = w / op.window_columns, wx = w % op.window_columns;
                const int64_t y = op.top + r * op.step_y + wy, x = op.left + c * op.step_x + wx;
                const int64_t at = (op.base + r * op.row_stride + c * op.column_stride +
                                    wy * op.window_row_stride + wx * op.window_column_stride) &
                                   kRowMask;
                if (weighs && op.weights + w >= sizes_.lane_rows)
                    return report(Error::PARAMETER_RANGE, op.weights + w);
                if (y >= 0 && y < op.height && x >= 0 && x < op.width && at >= limit)
                    return report(
                        scratchpad ? Error::SCRATCHPAD_RANGE : Error::ACCUMULATOR_RANGE, at);
            }
            const int64_t second = (op.second + r * op.second_row_stride +
                                    c * op.second_column_stride) &
                                   kRowMask;
            if (op.add && second >= sizes_.scratchpad_rows)
                return report(Error::SCRATCHPAD_RANGE, second);
            const int64_t to = (op.destination + r * op.destination_row_stride +
                                c * op.destination_column_stride) &
                               kRowMask;
            if (to >= sizes_.scratchpad_rows) return report(Error::SCRATCHPAD_RANGE, to);
        }
        return {};
    }

private:
    struct Loop {
        int64_t count, stride;
    };
    struct Range {
        int64_t low, high;
        bool within(int64_t limit) const { return low >= 0 && high < limit; }
    };
    // The trips of a loop whose coordinate `first + trip * step` lies in [0, size).
    struct Inside {
        int64_t first, count;
        Inside(int64_t start, int64_t step, int64_t trips, int64_t size) {
            first = start >= 0 ? 0 : step ? (-start + step - 1) / step : trips;
            const int64_t end = start >= size ? 0 : step ? (size - 1 - start) / step + 1 : trips;
            count = std::max<int64_t>(0, std::min(end, trips) - first);
        }
    };
    const Sizes sizes_;
    bool has_tile_ = false;

    static Report report(Error code, int64_t detail) { return {int64_t(code), 0, 0, detail}; }
    static int64_t signed_row(int64_t row) {
        return row > kRowMask / 2 ? row - kRowMask - 1 : row;
    }
    static int64_t signed_half(int64_t row) { return row > 0x7fff ? row - 0x10000 : row; }

    static Range range(int64_t base, Loop a, Loop b, Loop c = {1, 0}, Loop d = {1, 0}) {
        Range range{base, base};
        for (const Loop& loop : {a, b, c, d}) {
            const int64_t reach = (loop.count - 1) * loop.stride;
            (reach < 0 ? range.low : range.high) += reach;
        }
        return range;
    }

    Report pass(const Matmul& op, int64_t c, int64_t ky, int64_t kx) const {
        for (int64_t b = 0; b < op.batches; ++b)
            for (int64_t r = 0; r < op.rows; ++r)
                for (int64_t col = 0; col < op.columns; ++col) {
                    const int64_t to =
                        (op.accumulator + b * op.accumulator_batch_stride +
                         r * op.accumulator_row_stride + col * op.accumulator_column_stride) &
                        0xffff;
                    if (to >= 2 * sizes_.accumulator_rows)
                        return report(Error::ACCUMULATOR_RANGE, to);
                    const int64_t y = op.top + r * op.step_y + ky * op.dilation_y;
                    const int64_t x = op.left + col * op.step_x + kx * op.dilation_x;
                    const int64_t at = (op.source + c * op.channel_stride +
                                        ky * op.kernel_row_stride + kx * op.kernel_column_stride +
                                        b * op.batch_stride + r * op.row_stride +
                                        col * op.column_stride) &
                                       kRowMask;
                    if (y >= 0 && y < op.height && x >= 0 && x < op.width &&
                        at >= sizes_.scratchpad_rows)
                        return report(Error::SCRATCHPAD_RANGE, at);
                }
        return {};
    }
};

}  // namespace timing
