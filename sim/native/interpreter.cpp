// Whole programs: sim/functional.py in C++. See simulator.py for the types of its C face.
#include "matmul.h"
#include "transfer.h"
#include "vector.h"

namespace native {

class Core {
public:
    explicit Core(const Machine& machine) : matmul_(machine.array) {}
    virtual ~Core() = default;

    // Executes from `position` on; the position of the first instruction declined, with nothing
    // of it done, or -1 after HALT.
    int64_t run(const Machine& machine, const int64_t* words, int64_t count, int64_t position) {
        for (; position < count; ++position) {
            const int64_t* word = words + position * kInstructionWords;
            if (word[0] < 0 || !step(machine, word)) return position;
            ++at<int64_t>(machine.counters)[kInstructions];
            if (Opcode(word[0]) == Opcode::HALT) return -1;
        }
        return position;
    }

    Weights weights;

protected:
    virtual bool vector(const Machine& machine, const Vector& i) = 0;

private:
    bool step(const Machine& machine, const int64_t* word) {
        const auto& header = *reinterpret_cast<const Load*>(word);
        int64_t* semaphores = at<int64_t>(machine.semaphores);
        for (int number = 0; number < kSemaphores; ++number) {
            const int64_t taken = header.wait >> number & 1, given = header.signal >> number & 1;
            const int64_t left = semaphores[number] - taken;
            if (left < 0 || left + given > kSemaphoreMax) return false;
        }
        if (!execute(machine, word)) return false;
        for (int number = 0; number < kSemaphores; ++number)
            semaphores[number] += (header.signal >> number & 1) - (header.wait >> number & 1);
        return true;
    }

    bool execute(const Machine& machine, const int64_t* word) {
        switch (Opcode(word[0])) {
            case Opcode::LOAD: return load(machine, weights, *reinterpret_cast<const Load*>(word));
            case Opcode::STORE: return store(machine, *reinterpret_cast<const Load*>(word));
            case Opcode::MATMUL:
                return matmul_.run(machine, weights, *reinterpret_cast<const Matmul*>(word));
            case Opcode::VECTOR: return vector(machine, *reinterpret_cast<const Vector*>(word));
            case Opcode::FENCE:
            case Opcode::HALT: return true;
            default: return false;
        }
    }

    MatmulUnit matmul_;
};

template <int kLanes>
class SizedCore : public Core {
public:
    using Core::Core;

protected:
    bool vector(const Machine& machine, const Vector& i) override { return vector_.run(machine, i); }

private:
    VectorUnit<kLanes> vector_;
};

}  // namespace native

#pragma GCC visibility push(default)
extern "C" {

native::Core* n_open(const native::Machine* machine) {
    switch (machine->array) {
        case 2: return new native::SizedCore<2>(*machine);
        case 4: return new native::SizedCore<4>(*machine);
        case 8: return new native::SizedCore<8>(*machine);
        default: return new native::SizedCore<16>(*machine);
    }
}

int64_t n_run(native::Core* core, const native::Machine* machine, const int64_t* words,
              int64_t count, int64_t position) {
    return core->run(*machine, words, count, position);
}

// Bytes in the weight FIFO, and in the array's tile (0: none).
int64_t n_waiting(const native::Core* core) { return int64_t(core->weights.waiting()); }
int64_t n_tile(const native::Core* core) { return int64_t(core->weights.tile.size()); }

void n_get_weights(const native::Core* core, int8_t* waiting, int8_t* tile) {
    const auto& weights = core->weights;
    std::copy(weights.fifo.begin() + std::ptrdiff_t(weights.taken), weights.fifo.end(), waiting);
    std::copy(weights.tile.begin(), weights.tile.end(), tile);
}

void n_set_weights(native::Core* core, const int8_t* waiting, int64_t bytes, const int8_t* tile,
                   int64_t tile_bytes) {
    core->weights.fifo.assign(waiting, waiting + bytes);
    core->weights.tile.assign(tile, tile + tile_bytes);
    core->weights.taken = 0;
}

void n_close(native::Core* core) { delete core; }
}
