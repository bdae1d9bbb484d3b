// A call that the reply's end cuts off is no call, and leaves as text; but what its arguments hide is hidden in what is there of them, too:
// a caller chooses where a reply ends. Which tool it is of is known by its name; before that it is every tool's, as a result is.
//
// Tested by tests/gateway/pipeline/tools_test.cpp.
#include <algorithm>

#include <fmt/format.h>

#include "gateway/pipeline/choice_output.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/shadow.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {

constexpr std::size_t kOfAnyToolBytesMax = 4096;  // Judged by the rules of all tools, one by one; what is longer is held back unread.

bool Hides(const policy::StreamFilter& filter) {
  return filter.blocked() ||
         std::any_of(filter.raw().begin(), filter.raw().end(), [](const policy::RawSpan& its) { return !its.restored; });
}

}  // namespace

absl::StatusOr<bool> ChoiceOutput::HoldsBackCut(std::string_view cut) {
  if (cut.empty() || stopped_) return false;
  const std::string_view head = cut.substr(0, std::min(cut.find("\"arguments\""), cut.find("\"parameters\"")));
  std::vector<std::string> tools;
  bool known = false;
  for (const std::string& name : plan_.syntax.names) {
    if (cut.find(name) != std::string_view::npos) tools.push_back(name);
    known = known || head.find(name) != std::string_view::npos;
  }
  for (const std::string& tool : known ? tools : plan_.syntax.names) {
    const std::unique_ptr<policy::StreamFilter> filter = plan_.open({policy::Part::kToolCall, tool});
    const bool unread = !known && cut.size() > kOfAnyToolBytesMax && filter->acts();
    TG_RETURN_IF_ERROR(filter->Push(unread ? "" : cut).status());
    TG_RETURN_IF_ERROR(filter->Finish().status());
    if (!unread && !Hides(*filter)) continue;
    TG_ASSIGN(const std::string clear, logprobs_.Flush(*text_));
    GiveText(clear);
    if (blocked_ || stopped_) return true;
    const std::string channel = fmt::format("tool_calls[{}]", calls_seen_++);
    v1::Verdict verdict = ToProto(filter->verdict());
    if (unread) verdict.add_not_scanned("withheld_call");
    MergeVerdict(verdict, index_, "tool_calls", call_verdict_);
    if (plan_.shadow != nullptr) MergeVerdict(ShadowOf(*plan_.shadow, *filter).verdict(), index_, "tool_calls", call_shadow_);
    KeepRaw(*filter, channel, call_raw_);
    v1::RawSpan* raw = call_raw_.add_raw();
    raw->set_choice(index_);
    raw->set_channel(channel);
    raw->set_text(tool + std::string(cut.substr(std::min(cut.find('{'), cut.size()))));
    blocked_ = filter->blocked();
    judged_ = raw_bytes_;
    mixed_ = true;
    if (!blocked_) places_.push_back({raw_bytes_, Kind::kNone, 0});
    return true;
  }
  return false;
}

}  // namespace tollgate::pipeline
