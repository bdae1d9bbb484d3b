// What both readings have is told once, as it is written. A rule's story is that of the reading in which more came of it.
//
// Tested by tests/policy/explain_test.cpp.
#include "policy/explain_readings.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "policy/explain_asked.h"
#include "policy/readings.h"

namespace tollgate::policy {
namespace {

bool Begins(const FoundSpan& a, const FoundSpan& b) { return a.begin < b.begin; }

// The lower, the more came of it.
int Rank(RuleStory::State state) {
  switch (state) {
    case RuleStory::State::kHit: return 0;
    case RuleStory::State::kAllowed: return 1;
    case RuleStory::State::kFailed: return 2;
    default: return 3;
  }
}

// `added`: spans that only the second reading has.
void AddStory(RuleStory read, std::int64_t added, RuleStory& out) {
  out.count += added;
  out.micros += read.micros;
  if (Rank(read.state) < Rank(out.state)) {
    out.state = read.state;
    out.why = std::move(read.why);
    out.score = read.score;
  }
  if (added > 0 && out.state == RuleStory::State::kHit) out.why = fmt::format("it found {} span{}", out.count, out.count == 1 ? "" : "s");
}

}  // namespace

void AddReading(std::string_view json, Explanation read, Explanation& out) {
  std::stable_sort(read.found.begin(), read.found.end(), Begins);
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  for (const FoundSpan& span : read.found) spans.emplace_back(span.begin, span.end);
  spans = AsWritten(json, spans);
  std::map<std::string, std::int64_t> added;
  std::vector<FoundSpan> more;
  LinePlace place;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    FoundSpan& span = read.found[i];
    std::tie(span.begin, span.end) = spans[i];
    const auto same = [&span](const FoundSpan& known) {
      return known.rule_id == span.rule_id && known.begin == span.begin && known.end == span.end;
    };
    if (std::any_of(out.found.begin(), out.found.end(), same)) continue;
    place.GoTo(json, static_cast<std::size_t>(span.begin));
    span.line = place.line;
    span.column = place.column;
    span.evidence.insert(span.evidence.begin(), "it is in what the JSON says when its escapes are read");
    ++added[span.rule_id];
    more.push_back(std::move(span));
  }
  out.found.insert(out.found.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  std::stable_sort(out.found.begin(), out.found.end(), Begins);
  if (out.found.size() > Explanation::kFoundMax) out.found.resize(Explanation::kFoundMax);
  for (std::size_t i = 0; i < out.rules.size() && i < read.rules.size(); ++i)
    AddStory(std::move(read.rules[i]), added[out.rules[i].rule_id], out.rules[i]);
}

}  // namespace tollgate::policy
