// The thread's processor time, not the wall's: a shared machine does not make a rule look slow. A rule is measured by a scan that selects
// its sources alone, less a scan that selects none.
//
// Tested by tests/policy/explain_test.cpp.
#include "policy/cost.h"

#include <algorithm>
#include <ctime>
#include <iterator>

namespace tollgate::policy {
namespace {

constexpr int kRunsMax = 50;

double ThreadMicros() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

// The selection with the sources of one rule alone, or with none of them.
Program::Selection Only(const Program& program, const Program::Selection& selection, std::uint32_t rule) {
  static const Program::Group kNoKeywords;
  Program::Selection out;
  out.sources.assign(selection.sources.size(), 0);
  const auto own = [&](std::uint32_t source) { return selection.sources[source] != 0 && program.sources()[source].rule == rule; };
  for (std::uint32_t source = 0; source < out.sources.size(); ++source) out.sources[source] = own(source) ? 1 : 0;
  std::copy_if(selection.patterns.begin(), selection.patterns.end(), std::back_inserter(out.patterns), own);
  for (const Program::Group* group : selection.groups) {
    const auto lists = [&](std::uint32_t source) { return own(source) && program.sources()[source].pattern == nullptr; };
    if (std::any_of(group->sources.begin(), group->sources.end(), lists)) out.groups.push_back(group);
  }
  if (out.groups.empty()) out.groups.push_back(&kNoKeywords);  // Not empty, or nothing would be scanned at all.
  return out;
}

}  // namespace

double SharedMicros(const Program& program, const Program::Selection& selection, std::string_view text, Effort* effort) {
  if (selection.empty()) return 0;  // Rules that scan nothing: no judgement does the pass.
  const Program::Selection none = Only(program, selection, UINT32_MAX);
  return MicrosOf([&] { program.FindAll(text, none, effort); });
}

double RuleMicros(const Program& program, const Program::Selection& selection, std::uint32_t rule, std::string_view text, double shared,
                  Effort* effort) {
  const Program::Selection own = Only(program, selection, rule);
  return std::max(MicrosOf([&] { program.FindAll(text, own, effort); }) - shared, 0.0);
}

double MicrosOf(const std::function<void()>& work, double patience_us) {
  double best = 0, total = 0;
  for (int run = 0; run < kRunsMax && (run == 0 || total + best < patience_us); ++run) {
    const double began = ThreadMicros();
    work();
    const double took = std::max(ThreadMicros() - began, 0.0);
    best = run == 0 ? took : std::min(best, took);
    total += took;
  }
  return best;
}

}  // namespace tollgate::policy
