// The stop signals, SIGINT and SIGTERM, by which a person or a supervisor ends the program. They are blocked in every thread and asked for
// instead, so that the program ends between two steps and never in the middle of one.
#pragma once

#include <chrono>

namespace tollgate::serve {

// In this thread and in those it starts from here on: call it first. Safe to call again.
void BlockStopSignals();

// One has come that nobody took yet.
bool StopSignalPending();

// Takes one that has come, or comes within this time; false if none did. Blocks the thread for that long at most.
bool TakeStopSignal(std::chrono::milliseconds within);

}  // namespace tollgate::serve
