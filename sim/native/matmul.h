// MATMUL: the rows of each pass side by side, so that all passes are one matrix product.
#pragma once

#include <algorithm>

#include "machine.h"
#include "multiply.h"

namespace native {

class MatmulUnit {
public:
    explicit MatmulUnit(int64_t array)
        : n_(array),
          padded_((array + Multiplier::kStep - 1) / Multiplier::kStep * Multiplier::kStep),
          columns_(int(std::min<int64_t>(array, kColumns))),
          multipliers_(size_t((array + kColumns - 1) / kColumns)),
          written_(size_t(1) << kAccumulatorBits) {}

    bool run(const Machine& machine, Weights& weights, const Matmul& i) {
        if (i.keep && weights.tile.empty()) return false;
        const int64_t rows = i.batches * i.rows * i.columns;
        const int64_t passes = i.channel_blocks * i.kernel_rows * i.kernel_columns;
        const size_t tile_bytes = size_t(n_ * n_);
        if (rows > kMostRows || weights.waiting() / tile_bytes < size_t(passes - i.keep))
            return false;
        Axis batch{i.batches, distance(i.accumulator_batch_stride, kAccumulatorBits)},
            row{i.rows, distance(i.accumulator_row_stride, kAccumulatorBits)},
            column{i.columns, distance(i.accumulator_column_stride, kAccumulatorBits)};
        int64_t target = i.accumulator;
        if (!place(target, machine.accumulator_rows, kAccumulatorBits, {batch, row, column}))
            return false;
        if (!place_passes(machine, i)) return false;

        positions(i, rows);
        targets_.clear();
        for (int64_t b = 0; b < i.batches; ++b)
            for (int64_t y = 0; y < i.rows; ++y)
                for (int64_t x = 0; x < i.columns; ++x)
                    targets_.push_back(int32_t(target + b * batch.stride + y * row.stride +
                                               x * column.stride));
        take_tiles(weights, passes, i.keep != 0);
        if (i.accumulate || distinct()) {
            prepare(0, passes);
            multiply(machine, i, 0, passes, i.accumulate != 0);
        } else {  // of equal rows the last stays in the first pass, all add in the later ones
            prepare(0, 1);
            multiply(machine, i, 0, 1, false);
            prepare(1, passes);
            if (passes > 1) multiply(machine, i, 1, passes, true);
        }
        if (tiles_.back() != weights.tile.data())
            weights.tile.assign(tiles_.back(), tiles_.back() + tile_bytes);
        weights.taken += size_t(passes - i.keep) * tile_bytes;

        int64_t* counters = at<int64_t>(machine.counters);
        const int64_t lanes = i.kernel_rows * i.kernel_columns *
                              ((i.channel_blocks - 1) * n_ + std::min(i.used_rows, n_));
        counters[kArrayActive] += rows * passes;
        counters[kUsefulMacs] += rows * lanes * std::min(i.used_columns, n_);
        return true;
    }

private:
    // Where a kernel position is inside the image.
    struct Tap {
        Span y, x;
        bool empty() const { return y.empty() || x.empty(); }
    };
    struct Position {
        int32_t y, x;
        int64_t row;
    };

    // The first scratchpad row of each pass; false if any that is read does not exist.
    bool place_passes(const Machine& machine, const Matmul& i) {
        const Axis batch{i.batches, row_distance(i.batch_stride)};
        const int64_t row = row_distance(i.row_stride), column = row_distance(i.column_stride);
        taps_.clear();
        for (int64_t ky = 0; ky < i.kernel_rows; ++ky)
            for (int64_t kx = 0; kx < i.kernel_columns; ++kx)
                taps_.push_back({inside(i.top + ky * i.dilation_y, i.step_y, i.rows, i.height),
                                 inside(i.left + kx * i.dilation_x, i.step_x, i.columns, i.width)});
        bases_.clear();
        for (int64_t c = 0; c < i.channel_blocks; ++c)
            for (int64_t ky = 0; ky < i.kernel_rows; ++ky)
                for (int64_t kx = 0; kx < i.kernel_columns; ++kx) {
                    const Tap& tap = taps_[size_t(ky * i.kernel_columns + kx)];
                    if (tap.empty()) {
                        bases_.push_back(0);
                        continue;
                    }
                    const int64_t skipped = tap.y.first * row + tap.x.first * column;
                    int64_t base = i.source + c * row_distance(i.channel_stride) +
                                   ky * row_distance(i.kernel_row_stride) +
                                   kx * row_distance(i.kernel_column_stride) + skipped;
                    if (!place(base, machine.scratchpad_rows, kRowBits,
                               {batch, {tap.y.end - tap.y.first, row},
                                {tap.x.end - tap.x.first, column}}))
                        return false;
                    bases_.push_back(base - skipped);
                }
        return true;
    }

    void positions(const Matmul& i, int64_t rows) {
        const int64_t batch = row_distance(i.batch_stride), row = row_distance(i.row_stride),
                      column = row_distance(i.column_stride);
        positions_.clear();
        positions_.reserve(size_t(rows));
        for (int64_t b = 0; b < i.batches; ++b)
            for (int64_t y = 0; y < i.rows; ++y)
                for (int64_t x = 0; x < i.columns; ++x)
                    positions_.push_back(
                        {int32_t(y), int32_t(x), b * batch + y * row + x * column});
    }

    bool distinct() {
        ++mark_;
        for (const int32_t target : targets_) {
            if (written_[size_t(target)] == mark_) return false;
            written_[size_t(target)] = mark_;
        }
        return true;
    }

    void take_tiles(const Weights& weights, int64_t passes, bool keep) {
        tiles_.clear();
        const int8_t* next = weights.fifo.data() + weights.taken;
        if (keep) tiles_.push_back(weights.tile.data());
        for (; int64_t(tiles_.size()) < passes; next += n_ * n_) tiles_.push_back(next);
    }

    void prepare(int64_t first, int64_t end) {
        for (size_t block = 0; block < multipliers_.size(); ++block) {
            Multiplier& multiplier = multipliers_[block];
            multiplier.resize((end - first) * padded_);
            for (int64_t pass = first; pass < end; ++pass)
                for (int64_t row = 0; row < n_; row += Multiplier::kStep)
                    multiplier.set((pass - first) * padded_ + row,
                                   tiles_[size_t(pass)] + row * n_ + int64_t(block) * kColumns, n_,
                                   int(std::min<int64_t>(Multiplier::kStep, n_ - row)), columns_);
        }
    }

    void multiply(const Machine& machine, const Matmul& i, int64_t first, int64_t end, bool add) {
        const int64_t rows = int64_t(positions_.size());
        for (int64_t from = 0; from < rows; from += Multiplier::kRows) {
            const int count = int(std::min<int64_t>(Multiplier::kRows, rows - from));
            gather(machine, i, first, end, from, count);
            for (size_t block = 0; block < multipliers_.size(); ++block)
                finish<Multiplier::kRows>(machine, block, from, count, add);
        }
    }

    // Data [passes][kRows][padded] of a few rows.
    void gather(const Machine& machine, const Matmul& i, int64_t first, int64_t end, int64_t from,
                int count) {
        const int64_t taps = int64_t(taps_.size()), piece = Multiplier::kRows * padded_;
        data_.resize(size_t((end - first) * piece));
        pad_.assign(size_t(n_), int8_t(i.pad));
        const int8_t* scratchpad = at<int8_t>(machine.scratchpad);
        const Position* position = positions_.data() + from;
        for (int64_t tap = 0; tap < taps; ++tap) {
            const Span y = taps_[size_t(tap)].y, x = taps_[size_t(tap)].x;
            bool in[Multiplier::kRows];
            for (int row = 0; row < count; ++row)
                in[row] = position[row].y >= y.first && position[row].y < y.end &&
                          position[row].x >= x.first && position[row].x < x.end;
            const int64_t before = first > tap ? (first - tap + taps - 1) / taps : 0;
            for (int64_t pass = tap + before * taps; pass < end; pass += taps) {
                Multiplier::Element* to = data_.data() + (pass - first) * piece;
                const int8_t* base = scratchpad + bases_[size_t(pass)] * n_;
                for (int row = 0; row < count; ++row, to += padded_)
                    copy(in[row] ? base + position[row].row * n_ : pad_.data(), to);
            }
        }
    }

    void copy(const int8_t* __restrict from, Multiplier::Element* __restrict to) const {
        if (n_ < 16) {
            for (int64_t lane = 0; lane < n_; ++lane) to[lane] = Multiplier::element(from[lane]);
            return;
        }
        for (int64_t lane = 0; lane < n_; lane += 16)
            for (int64_t of = 0; of < 16; ++of)
                to[lane + of] = Multiplier::element(from[lane + of]);
    }

    // The product of `count` rows by a block of columns, into the accumulators.
    template <int kCount>
    void finish(const Machine& machine, size_t block, int64_t from, int count, bool add) {
        if constexpr (kCount > 1)
            if (count < kCount) return finish<kCount - 1>(machine, block, from, count, add);
        int32_t result[kCount * kColumns];
        multipliers_[block].template run<kCount>(data_.data(), padded_, result);
        uint32_t* accumulators = at<uint32_t>(machine.accumulators) + block * kColumns;
        for (int row = 0; row < kCount; ++row) {
            uint32_t* to = accumulators + targets_[size_t(from + row)] * n_;
            for (int column = 0; column < columns_; ++column) {
                const uint32_t product = uint32_t(result[row * kColumns + column]);
                to[column] = add ? to[column] + product : product;
            }
        }
    }

    int64_t n_, padded_;
    int columns_;
    std::vector<Multiplier> multipliers_;  // one for each 16 columns
    std::vector<uint32_t> written_;
    uint32_t mark_ = 0;
    std::vector<Tap> taps_;
    std::vector<int64_t> bases_;
    std::vector<Position> positions_;
    std::vector<int32_t> targets_;
    std::vector<const int8_t*> tiles_;
    std::vector<Multiplier::Element> data_;
    std::vector<int8_t> pad_;
};

}  // namespace native
