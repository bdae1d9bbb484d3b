// What work costs: for explaining and checking policies. Inside policy/ only; no verdict depends on it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "policy/program.h"

namespace tollgate::policy {

// Microseconds of this thread's processor time that one run of `work` takes: the least of several runs, so that caches are warm and what
// else the machine does counts little. Runs it at least once, and again while all runs together stay below `patience_us`.
double MicrosOf(const std::function<void()>& work, double patience_us = 300);

// What a scan of `text` takes with no detector at all: the pass for trigger words, which all rules share; 0 if the
// selection is empty.
double SharedMicros(const Program& program, const Program::Selection& selection, std::string_view text, Effort* effort = nullptr);

// What the detectors of one rule (index in the program's rules) add to that. Keyword lists of one scope share an automaton and are measured
// together.
double RuleMicros(const Program& program, const Program::Selection& selection, std::uint32_t rule, std::string_view text, double shared,
                  Effort* effort = nullptr);

}  // namespace tollgate::policy
