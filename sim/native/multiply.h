// Rows of int8 times a matrix of int8, exactly modulo 2**32, 16 columns at a time.
//
// Two ways: products of four bytes at once where the CPU has them (AVX-512 VNNI), else float32,
// whose sums are exact below 2**24.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__AVX512VNNI__) && !defined(SYSTOLICA_NO_VNNI)
#define SYSTOLICA_VNNI
#include <immintrin.h>
#endif

namespace native {

constexpr int kColumns = 16;

#ifdef SYSTOLICA_VNNI

// vpdpbusd takes unsigned data: 128 is added to each byte and 128 times the weights' sum taken off.
class Multiplier {
public:
    using Element = uint8_t;
    static constexpr int kRows = 16, kStep = 4;

    static Element element(int8_t value) { return uint8_t(value) ^ 0x80; }

    // Weights of `depth` rows (a multiple of kStep) and 16 columns.
    void resize(int64_t depth) {
        depth_ = depth;
        weights_.assign(size_t(depth * kColumns), 0);
        std::memset(offset_, 0, sizeof offset_);
    }
    // Rows [row, row + 4), or fewer, `pitch` bytes apart, with `columns` columns.
    void set(int64_t row, const int8_t* __restrict values, int64_t pitch, int rows, int columns) {
        int8_t* __restrict to = weights_.data() + row * kColumns;
        if (rows == 4 && columns == kColumns) {
            for (int column = 0; column < kColumns; ++column)
                for (int of = 0; of < 4; ++of) to[4 * column + of] = values[of * pitch + column];
            for (int column = 0; column < kColumns; ++column)
                offset_[column] -= 128 * (values[column] + values[pitch + column] +
                                          values[2 * pitch + column] + values[3 * pitch + column]);
            return;
        }
        for (int of = 0; of < rows; ++of)
            for (int column = 0; column < columns; ++column) {
                to[4 * column + of] = values[of * pitch + column];
                offset_[column] -= 128 * values[of * pitch + column];
            }
    }

    // The products of kCount rows with all weights: kCount x 16. `data` is [depth / width][kRows]
    // pieces of `width` elements.
    template <int kCount>
    void run(const Element* data, int64_t width, int32_t* result) const {
        __m512i sums[kCount];
        for (auto& sum : sums) sum = _mm512_loadu_si512(offset_);
        const int8_t* weights = weights_.data();
        for (int64_t first = 0; first < depth_; first += width, data += kRows * width)
            for (int64_t k = 0; k < width; k += 4, weights += 4 * kColumns) {
                const __m512i four = _mm512_loadu_si512(weights);
                for (int row = 0; row < kCount; ++row) {
                    int32_t bytes;
                    std::memcpy(&bytes, data + row * width + k, 4);
                    sums[row] = _mm512_dpbusd_epi32(sums[row], _mm512_set1_epi32(bytes), four);
                }
            }
        for (int row = 0; row < kCount; ++row)
            _mm512_storeu_si512(result + row * kColumns, sums[row]);
    }

private:
    int64_t depth_ = 0;
    std::vector<int8_t> weights_;
    int32_t offset_[kColumns];
};

#else

class Multiplier {
public:
    using Element = float;
#ifdef __AVX512F__
    static constexpr int kRows = 16, kStep = 1;
#else
    static constexpr int kRows = 6, kStep = 1;
#endif

    static Element element(int8_t value) { return value; }

    void resize(int64_t depth) {
        depth_ = depth;
        weights_.assign(size_t(depth * kColumns), 0);
    }
    void set(int64_t row, const int8_t* values, int64_t, int, int columns) {
        for (int column = 0; column < columns; ++column)
            weights_[size_t(row * kColumns + column)] = values[column];
    }

    template <int kCount>
    void run(const Element* data, int64_t width, int32_t* result) const {
        for (int at = 0; at < kCount * kColumns; ++at) result[at] = 0;
        const int64_t together = kExact / width * width;
        const float* weights = weights_.data();
        for (int64_t first = 0; first < depth_; first += together) {
            const int64_t end = first + together < depth_ ? first + together : depth_;
            float sums[kCount][kColumns] = {};
            for (int64_t piece = first; piece < end; piece += width, data += kRows * width)
                for (int64_t k = 0; k < width; ++k, weights += kColumns)
                    for (int row = 0; row < kCount; ++row)
                        for (int column = 0; column < kColumns; ++column)
                            sums[row][column] += data[row * width + k] * weights[column];
            for (int row = 0; row < kCount; ++row)
                for (int column = 0; column < kColumns; ++column) {
                    uint32_t sum = uint32_t(result[row * kColumns + column]);
                    sum += uint32_t(int32_t(sums[row][column]));
                    result[row * kColumns + column] = int32_t(sum);
                }
        }
    }

private:
    static constexpr int64_t kExact = (1 << 24) / (128 * 128);  // products that sum exactly
    int64_t depth_ = 0;
    std::vector<float> weights_;
};

#endif

}  // namespace native
