// Verilator's sign extension and signed product in a form that compilers know as such.
//
// Verilator ORs the negated sign bit in, which neither g++ nor clang++ takes for a sign extension:
// the array's products stay scalar. Shifting up and down is one instruction, and vectorises.
// Included ahead of every Verilated file, through the precompiled header.
#pragma once
#include "verilated.h"

static inline IData systolica_extend(int bits, IData value) {
    return static_cast<IData>(static_cast<int32_t>(value << (32 - bits)) >> (32 - bits));
}

#define VL_EXTENDS_II(obits, lbits, value) systolica_extend(lbits, value)
#define VL_MULS_III(lbits, a, b) (systolica_extend(lbits, a) * systolica_extend(lbits, b))
