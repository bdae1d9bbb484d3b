// The stop signals, SIGINT, SIGTERM and SIGHUP, by which a person, a supervisor or a terminal that closes ends the program. They are
// blocked in every thread and asked for instead, so that the program ends between two steps and never in the middle of one. A SIGHUP that
// whoever started the program has it ignore (nohup) is none.
#pragma once

#include <chrono>

namespace tollgate::serve {

// In this thread and in those it starts from here on: call it first. Safe to call again.
void BlockStopSignals();

// One has come that nobody took yet.
bool StopSignalPending();

// Takes one that has come, or comes within this time; false if none did. Blocks the thread for that long at most.
bool TakeStopSignal(std::chrono::milliseconds within);

// Takes one that has come while the program stops already: somebody does not want to wait. A SIGHUP is none: a terminal that closes may
// send several.
bool TakeFurtherSignal();

}  // namespace tollgate::serve
