// A reply that is taken back is made anew from what is kept of it: the filters are deterministic, so it lets go again what it had let go,
// and that is skipped. Where it would hold back some of that, because what followed is what had made it final, it is not taken back so far.
// What was judged of the alternatives to kept tokens stands, for nothing has changed of what stands before them.
//
// Tested by tests/gateway/pipeline/retry_test.cpp.
#include <algorithm>

#include "gateway/pipeline/choice_output.h"

namespace tollgate::pipeline {

std::unique_ptr<ChoiceOutput> ChoiceOutput::TakenBack(const inference::Piece& kept) const {
  if (static_cast<std::int64_t>(kept.text.size()) < raw_.offset()) return nullptr;
  auto out = std::make_unique<ChoiceOutput>(index_, plan_);
  out->logprobs_.GoesAlong(logprobs_);
  if (!kept.text.empty() && !out->Push(kept).ok()) return nullptr;
  out->logprobs_.GoesAlone();
  if (out->blocked_ || !out->Skip(taken_)) return nullptr;
  while (out->NextFound()) {
  }
  out->raw_.ReleaseUpTo(raw_.offset());
  return out;
}

bool ChoiceOutput::Skip(const Given& given) {
  Logprobs logprobs = logprobs_.Take(*text_, Shown());
  if (static_cast<std::int64_t>(pending_.text.size()) < given.text || static_cast<std::int64_t>(pending_.thought.size()) < given.thought ||
      pending_.calls.size() < given.calls || logprobs.size() < given.logprobs)
    return false;
  pending_.text.erase(0, static_cast<std::size_t>(given.text));
  pending_.thought.erase(0, static_cast<std::size_t>(given.thought));
  pending_.calls.erase(pending_.calls.begin(), pending_.calls.begin() + static_cast<std::ptrdiff_t>(given.calls));
  pending_.logprobs.assign(logprobs.begin() + static_cast<std::ptrdiff_t>(given.logprobs), logprobs.end());
  taken_ = given;
  return true;
}

std::optional<FoundSpan> ChoiceOutput::NextFound() {
  for (const std::size_t which : {0, 1}) {
    const policy::StreamFilter* filter = which == 0 ? text_.get() : thought_.get();
    while (filter != nullptr && looked_[which] < filter->raw().size()) {
      const policy::RawSpan& span = filter->raw()[looked_[which]++];
      if (span.restored || !plan_.retries.contains(span.rule_id)) continue;
      if (!syntax_open_) return FoundSpan{span.rule_id, span.offset};
      const auto mark = std::find_if(marks_[which].begin(), marks_[which].end(), [&](const auto& m) { return m.first > span.offset; });
      if (mark != marks_[which].end()) return FoundSpan{span.rule_id, mark->second - (mark->first - span.offset)};
    }
  }
  return std::nullopt;
}

}  // namespace tollgate::pipeline
