// The C face of the timing model; see native.py for the types.
#include "core.h"

#pragma GCC visibility push(default)
extern "C" {

timing::Core* t_open(const timing::Sizes* sizes, const timing::Words* program, int64_t length,
                     int record) {
    auto* core = new timing::Core(*sizes, program, length);
    core->recording = record != 0;
    return core;
}

void t_run(timing::Core* core, timing::Report* report) { *report = core->run(); }
const int64_t* t_counters(const timing::Core* core) { return core->counters; }
int64_t t_event_count(const timing::Core* core) { return int64_t(core->events.size()); }
const timing::Event* t_events(const timing::Core* core) { return core->events.data(); }
void t_close(timing::Core* core) { delete core; }
}
