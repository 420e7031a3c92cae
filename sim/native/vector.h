// VECTOR. All is read and computed before anything is written, as in the oracle.
#pragma once

#include <algorithm>

#include "machine.h"
#include "numerics.h"

namespace native {

// g++ 12 unrolls a loop over so few lanes before it looks for vectors: these say it.
template <int kLanes>
struct Wide {
    typedef int8_t Bytes __attribute__((vector_size(kLanes)));
    typedef int16_t Halves __attribute__((vector_size(2 * kLanes)));
    typedef int32_t Words __attribute__((vector_size(4 * kLanes)));
};

// Lanes are worked on kLanes at a time: 16, or all of a smaller array.
template <int kLanes>
class VectorUnit {
public:
    bool run(const Machine& machine, const Vector& i) {
        const int64_t outputs = i.rows * i.columns;
        const bool sums = VectorReduce(i.reduce) >= VectorReduce::SUM;
        const bool weighted = VectorReduce(i.reduce) == VectorReduce::MULTIPLY_ACCUMULATE;
        const bool requantised = VectorConvert(i.convert) == VectorConvert::REQUANTISE;
        const int64_t taps = i.window_rows * i.window_columns;
        const Axis row{i.rows, row_distance(i.destination_row_stride)},
            column{i.columns, row_distance(i.destination_column_stride)};
        int64_t destination = i.destination;
        if (outputs > kMostRows ||
            !place(destination, machine.scratchpad_rows, kRowBits, {row, column}) ||
            (requantised && i.parameters >= machine.parameter_entries) ||
            (i.add && i.second_parameters >= machine.parameter_entries) ||
            (i.table && 256 * (i.table_number + 1) > machine.lane_rows) ||
            (weighted && i.weights + taps > machine.lane_rows) || !place_window(machine, i))
            return false;
        int64_t second = i.second;
        const Axis second_row{i.rows, row_distance(i.second_row_stride)},
            second_column{i.columns, row_distance(i.second_column_stride)};
        if (i.add && !place(second, machine.scratchpad_rows, kRowBits, {second_row, second_column}))
            return false;

        n_ = machine.array;
        results_.resize(size_t(outputs * n_));
        for (int64_t lane = 0; lane < n_; lane += kLanes) {
            lane_ = lane;
            if (requantised) parameters(machine, i);
            if (sums)
                weighted ? reduce<Sum<true>>(machine, i) : reduce<Sum<false>>(machine, i);
            else if (VectorSource(i.source) == VectorSource::SCRATCHPAD)
                reduce<Greatest>(machine, i);
            else if (requantised)
                reduce<GreatestRequantised>(machine, i);
            else
                reduce<GreatestByte>(machine, i);
        }
        if (i.add) add(machine, i, second, second_row.stride, second_column.stride);
        finish(machine, i, destination, row.stride, column.stride);
        return true;
    }

private:
    using Bytes = typename Wide<kLanes>::Bytes;
    using Halves = typename Wide<kLanes>::Halves;
    using Words = typename Wide<kLanes>::Words;

    // Source row of output (0, 0) for each window position; false if one does not exist.
    bool place_window(const Machine& machine, const Vector& i) {
        const int64_t row = row_distance(i.row_stride), column = row_distance(i.column_stride);
        const int64_t limit = VectorSource(i.source) == VectorSource::SCRATCHPAD
                                  ? machine.scratchpad_rows
                                  : machine.accumulator_rows;
        taps_.clear();
        for (int64_t wy = 0; wy < i.window_rows; ++wy)
            for (int64_t wx = 0; wx < i.window_columns; ++wx) {
                const Span y = inside(i.top + wy, i.step_y, i.rows, i.height),
                           x = inside(i.left + wx, i.step_x, i.columns, i.width);
                if (y.empty() || x.empty()) {
                    taps_.push_back(0);
                    continue;
                }
                const int64_t skipped = y.first * row + x.first * column;
                int64_t base = i.base + wy * row_distance(i.window_row_stride) +
                               wx * row_distance(i.window_column_stride) + skipped;
                if (!place(base, limit, kRowBits,
                           {{y.end - y.first, row}, {x.end - x.first, column}}))
                    return false;
                taps_.push_back(base - skipped);
            }
        return true;
    }

    // Bias and scale of this block of lanes: byte planes.
    void parameters(const Machine& machine, const Vector& i) {
        const uint8_t* planes =
            at<uint8_t>(machine.parameters) + i.parameters * kParameterSubrows * n_ + lane_;
        for (int of = 0; of < kLanes; ++of) {
            bias_[of] = word(planes + of);
            const uint32_t bits = word(planes + 4 * n_ + of);
            std::memcpy(&scale_[of], &bits, 4);
        }
    }

    uint32_t word(const uint8_t* plane) const {
        return uint32_t(plane[0]) | uint32_t(plane[n_]) << 8 | uint32_t(plane[2 * n_]) << 16 |
               uint32_t(plane[3 * n_]) << 24;
    }

    void requantised(const uint32_t* total, int32_t zero_point, int32_t* result) const {
        for (int of = 0; of < kLanes; ++of)
            result[of] = requantise(int32_t(total[of] + bias_[of]), scale_[of], zero_point);
    }

    // What reduce() does with the rows of a window: begin, take or miss each, end.
    struct Greatest {
        int8_t best[kLanes];
        void begin() { std::fill(best, best + kLanes, int8_t(kInt8Min)); }
        void take(const VectorUnit& unit, const Machine& machine, const Vector&, int64_t row,
                  int64_t) {
            const int8_t* from = at<int8_t>(machine.scratchpad) + row * unit.n_ + unit.lane_;
            for (int of = 0; of < kLanes; ++of) best[of] = std::max(best[of], from[of]);
        }
        void miss(const VectorUnit&, const Machine&, const Vector&, int64_t) {}
        void end(const VectorUnit&, const Vector&, int8_t* result) const {
            std::copy(best, best + kLanes, result);
        }
    };

    struct GreatestRequantised : Greatest {
        using Greatest::best;
        void take(const VectorUnit& unit, const Machine& machine, const Vector& i, int64_t row,
                  int64_t) {
            int32_t value[kLanes];
            unit.requantised(at<uint32_t>(machine.accumulators) + row * unit.n_ + unit.lane_,
                             int32_t(i.zero_point), value);
            for (int of = 0; of < kLanes; ++of) best[of] = std::max(best[of], int8_t(value[of]));
        }
    };

    struct GreatestByte : Greatest {
        using Greatest::best;
        void take(const VectorUnit& unit, const Machine& machine, const Vector& i, int64_t row,
                  int64_t) {
            const uint32_t* from =
                at<uint32_t>(machine.accumulators) + row * unit.n_ + unit.lane_;
            for (int of = 0; of < kLanes; ++of)
                best[of] = std::max(best[of], int8_t(from[of] >> (8 * i.byte)));
        }
    };

    template <bool kWeighted>
    struct Sum {
        Words total;
        void begin() { total = Words{}; }
        void add(const VectorUnit& unit, const Machine& machine, const Vector& i,
                 const int8_t* values, int64_t tap) {
            Bytes row, weights;
            std::memcpy(&row, values, kLanes);
            Halves terms = __builtin_convertvector(row, Halves);
            if (kWeighted) {
                std::memcpy(&weights,
                            at<int8_t>(machine.lanes) + (i.weights + tap) * unit.n_ + unit.lane_,
                            kLanes);
                terms *= __builtin_convertvector(weights, Halves);
            }
            total += __builtin_convertvector(terms, Words);
        }
        void take(const VectorUnit& unit, const Machine& machine, const Vector& i, int64_t row,
                  int64_t tap) {
            add(unit, machine, i, at<int8_t>(machine.scratchpad) + row * unit.n_ + unit.lane_, tap);
        }
        void miss(const VectorUnit& unit, const Machine& machine, const Vector& i, int64_t tap) {
            int8_t pad[kLanes];
            std::fill(pad, pad + kLanes, int8_t(i.pad));
            add(unit, machine, i, pad, tap);
        }
        void end(const VectorUnit& unit, const Vector& i, int8_t* result) const {
            uint32_t sums[kLanes];
            std::memcpy(sums, &total, sizeof sums);
            int32_t value[kLanes];
            unit.requantised(sums, int32_t(i.zero_point), value);
            for (int of = 0; of < kLanes; ++of) result[of] = int8_t(value[of]);
        }
    };

    template <typename Reduction>
    void reduce(const Machine& machine, const Vector& i) {
        const int64_t row = row_distance(i.row_stride), column = row_distance(i.column_stride);
        int8_t* result = results_.data() + lane_;
        for (int64_t y = 0; y < i.rows; ++y)
            for (int64_t x = 0; x < i.columns; ++x, result += n_) {
                const int64_t first = y * row + x * column;
                const int64_t top = i.top + y * i.step_y, left = i.left + x * i.step_x;
                Reduction reduction;
                reduction.begin();
                for (int64_t wy = 0, tap = 0; wy < i.window_rows; ++wy)
                    for (int64_t wx = 0; wx < i.window_columns; ++wx, ++tap) {
                        const bool in = uint64_t(top + wy) < uint64_t(i.height) &&
                                        uint64_t(left + wx) < uint64_t(i.width);
                        if (in)
                            reduction.take(*this, machine, i, taps_[size_t(tap)] + first, tap);
                        else
                            reduction.miss(*this, machine, i, tap);
                    }
                reduction.end(*this, i, result);
            }
    }

    void add(const Machine& machine, const Vector& i, int64_t second, int64_t row, int64_t column) {
        const uint8_t* planes =
            at<uint8_t>(machine.parameters) + i.second_parameters * kParameterSubrows * n_;
        const auto lane = [&](int number) {
            return uint64_t(word(planes + number)) | uint64_t(word(planes + 4 * n_ + number)) << 32;
        };
        const AddConstants constants(lane(0), lane(1));
        int8_t* result = results_.data();
        for (int64_t y = 0; y < i.rows; ++y)
            for (int64_t x = 0; x < i.columns; ++x) {
                const int8_t* other =
                    at<int8_t>(machine.scratchpad) + (second + y * row + x * column) * n_;
                for (int64_t lane = 0; lane < n_; lane += kLanes, result += kLanes) {
                    int32_t ours[kLanes], theirs[kLanes];
                    for (int of = 0; of < kLanes; ++of) {
                        ours[of] = result[of];
                        theirs[of] = other[lane + of];
                    }
                    const int32_t* first = i.swap ? theirs : ours;
                    const int32_t* second_of = i.swap ? ours : theirs;
                    int32_t sum[kLanes];
                    for (int of = 0; of < kLanes; ++of)
                        sum[of] = residual_add(first[of], second_of[of], constants);
                    for (int of = 0; of < kLanes; ++of) result[of] = int8_t(sum[of]);
                }
            }
    }

    // Table and clamp, then the results go to their rows in order.
    void finish(const Machine& machine, const Vector& i, int64_t destination, int64_t row,
                int64_t column) {
        int8_t* result = results_.data();
        if (i.table) {
            const int8_t* table = at<int8_t>(machine.lanes) + (256 * i.table_number + 128) * n_;
            for (int64_t output = 0; output < i.rows * i.columns; ++output)
                for (int64_t of = 0; of < n_; ++of) {
                    int8_t& value = result[output * n_ + of];
                    value = table[value * n_ + of];
                }
        }
        const int8_t low = int8_t(i.low), high = int8_t(i.high);
        for (size_t of = 0; of < results_.size(); ++of)
            result[of] = std::min(std::max(result[of], low), high);
        int8_t* scratchpad = at<int8_t>(machine.scratchpad);
        for (int64_t y = 0; y < i.rows; ++y)
            for (int64_t x = 0; x < i.columns; ++x, result += n_)
                std::memcpy(scratchpad + (destination + y * row + x * column) * n_, result,
                            size_t(n_));
    }

    int64_t n_ = 0, lane_ = 0;
    uint32_t bias_[kLanes];
    float scale_[kLanes];
    std::vector<int64_t> taps_;
    std::vector<int8_t> results_;
};

}  // namespace native
