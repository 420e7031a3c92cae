// Runs every mutant of a block on the same stimulus until its response differs.
//
// loop STIMULUS RESPONSE KILLED FIRST LAST: STIMULUS holds words per cycle; RESPONSE (of mutant 0,
// the unit as it is) is written when FIRST is 0, else read; KILLED gets for each mutant FIRST..LAST
// the cycle of the first difference, or -1.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

using Words = std::vector<uint32_t>;

static Words load(const char* path) {
    FILE* file = std::fopen(path, "rb");
    if (!file) std::exit(2);
    std::fseek(file, 0, SEEK_END);
    Words words(std::ftell(file) / 4);
    std::rewind(file);
    if (std::fread(words.data(), 4, words.size(), file) != words.size()) std::exit(2);
    std::fclose(file);
    return words;
}

template <class T> static void store(const char* path, const std::vector<T>& values) {
    FILE* file = std::fopen(path, "wb");
    if (!file || std::fwrite(values.data(), sizeof(T), values.size(), file) != values.size())
        std::exit(2);
    std::fclose(file);
}

int main(int count, char** arguments) {
    if (count != 6) return 2;
    const Words stimulus = load(arguments[1]);
    const int first = std::atoi(arguments[4]), last = std::atoi(arguments[5]);
    constexpr size_t in = sizeof(Vtop::stimulus) / 4, out = sizeof(Vtop::response) / 4;
    const size_t cycles = stimulus.size() / in;
    Words response = first ? load(arguments[2]) : Words(cycles * out);
    std::vector<int32_t> killed;
    for (int mutant = first; mutant <= last; ++mutant) {
        VerilatedContext context;
        Vtop top{&context};
        top.mutsel = mutant;
        top.rst = 1;
        std::memset(&top.stimulus, 0, in * 4);
        for (int half = 0; half < 4; ++half) {
            top.clk = half & 1;
            top.eval();
        }
        top.rst = 0;
        int32_t at = -1;
        for (size_t cycle = 0; cycle < cycles && at < 0; ++cycle) {
            std::memcpy(&top.stimulus, &stimulus[cycle * in], in * 4);
            top.clk = 0;
            top.eval();
            if (mutant == 0)
                std::memcpy(&response[cycle * out], &top.response, out * 4);
            else if (std::memcmp(&response[cycle * out], &top.response, out * 4))
                at = static_cast<int32_t>(cycle);
            top.clk = 1;
            top.eval();
        }
        killed.push_back(at);
    }
    if (first == 0) store(arguments[2], response);
    store(arguments[3], killed);
    return 0;
}
