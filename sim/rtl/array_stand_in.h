// What a systolic array of N x N elements computes, without its registers: see array_stand_in.py.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace systolica {

class Array {
public:
    virtual ~Array() = default;
    // One cycle. Rows are N bytes, the result N words.
    virtual void step(bool take, bool shift, const void* tile_row, const void* row,
                      void* result) = 0;
};

template <int N>
class SizedArray final : public Array {
public:
    void step(bool take, bool shift, const void* tile_row, const void* row,
              void* result) override {
        if (take) std::memcpy(weights_, shadow_, sizeof weights_);
        if (shift) {
            std::memmove(shadow_[1], shadow_[0], sizeof shadow_ - sizeof shadow_[0]);
            int8_t taken[N];
            std::memcpy(taken, tile_row, N);
            for (int j = 0; j < N; ++j) shadow_[0][j] = taken[j];
        }
        int8_t lanes[N];
        std::memcpy(lanes, row, N);
        int32_t sums[N] = {};
        for (int k = 0; k < N; ++k)
            for (int j = 0; j < N; ++j) sums[j] += int32_t(lanes[k]) * weights_[k][j];
        std::memcpy(result, line_[at_], sizeof sums);
        std::memcpy(line_[at_], sums, sizeof sums);
        at_ = at_ + 1 == kWait ? 0 : at_ + 1;
    }

private:
    // A product leaves 2N + 1 cycles after its row came; the module's register is one of them.
    static constexpr int kWait = 2 * N;
    int16_t shadow_[N][N] = {}, weights_[N][N] = {};
    int32_t line_[kWait][N] = {};
    int at_ = 0;
};

inline std::unique_ptr<Array> make_array(int n) {
    switch (n) {
        case 2: return std::make_unique<SizedArray<2>>();
        case 4: return std::make_unique<SizedArray<4>>();
        case 8: return std::make_unique<SizedArray<8>>();
        case 16: return std::make_unique<SizedArray<16>>();
        case 32: return std::make_unique<SizedArray<32>>();
        case 64: return std::make_unique<SizedArray<64>>();
        case 128: return std::make_unique<SizedArray<128>>();
        default: return std::make_unique<SizedArray<256>>();
    }
}

}  // namespace systolica
