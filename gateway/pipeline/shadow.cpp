// A shadow must not change what a caller gets: its failures are dropped, and its text is thrown away.
//
// Tested by tests/gateway/pipeline/shadow_test.cpp.
#include "gateway/pipeline/shadow.h"

#include "base/crypto.h"
#include "gateway/pipeline/records.h"
#include "gateway/pipeline/semantic_filter.h"

namespace tollgate::pipeline {

namespace v1 = tollgate::v1;

namespace {

// Nobody is asked for it: what its rules would ask is not scanned.
v1::ShadowVerdict Made(const policy::PolicySet& shadow, const policy::Verdict& verdict, std::span<const policy::Question> questions,
                       bool failed = false) {
  v1::ShadowVerdict out;
  out.set_policy_digest(std::string(base::View(shadow.digest())));
  *out.mutable_verdict() = ToProto(verdict);
  for (const policy::Question& question : questions) out.mutable_verdict()->add_not_scanned(question.label());
  if (failed) out.mutable_verdict()->add_not_scanned("shadow_failed");
  return out;
}

class BesideFilter final : public policy::StreamFilter {
 public:
  BesideFilter(std::unique_ptr<policy::StreamFilter> acting, const policy::PolicySet& shadow, const policy::Subject& subject,
               const policy::Channel& channel, policy::KeepGoing keep_going)
      : acting_(std::move(acting)),
        shadow_(shadow.OpenOutput(subject, channel, std::move(keep_going))),
        questions_(shadow.QuestionsOfOutput(subject, channel)) {}

  absl::StatusOr<std::string> Push(std::string_view raw) override {
    if (!shadow_->blocked()) failed_ = failed_ || !shadow_->Push(raw).ok();
    return acting_->Push(raw);
  }
  absl::StatusOr<std::string> Finish() override {
    failed_ = failed_ || !shadow_->Finish().ok();
    return acting_->Finish();
  }
  bool acts() const override { return acting_->acts(); }
  bool blocked() const override { return acting_->blocked(); }
  const policy::Verdict& verdict() const override { return acting_->verdict(); }
  policy::Verdict VerdictBefore(std::int64_t before) const override { return acting_->VerdictBefore(before); }
  bool LetsOut(std::string_view next) const override { return acting_->LetsOut(next); }
  const std::vector<policy::RawSpan>& raw() const override { return acting_->raw(); }
  const std::vector<std::pair<std::int64_t, std::int64_t>>& replaced() const override { return acting_->replaced(); }
  std::size_t held_bytes() const override { return acting_->held_bytes(); }
  std::int64_t pushed_bytes() const override { return acting_->pushed_bytes(); }
  std::int64_t decided_bytes() const override { return acting_->decided_bytes(); }

  v1::ShadowVerdict ShadowOf(const policy::PolicySet& shadow, std::int64_t before) const {
    return Made(shadow, shadow_->VerdictBefore(before), questions_, failed_);
  }

 private:
  const std::unique_ptr<policy::StreamFilter> acting_, shadow_;
  const std::vector<policy::Question> questions_;
  bool failed_ = false;
};

}  // namespace

void ShadowCounts::Add(bool output, const v1::Verdict& acted, const v1::ShadowVerdict& shadow) {
  if (shadow.policy_digest().empty()) return;
  // What asks something of the request, and refuses it else, is between redact and block.
  const auto strictness = [](const v1::Verdict& verdict) {
    const auto asks = [](const v1::RuleOutcome& rule) {
      return !rule.effect().empty() && !rule.effect().starts_with("append_system") && !rule.effect().starts_with("route");
    };
    const policy::Action action = ActionOf(verdict.action());
    const bool asked = action != policy::Action::kBlock && std::any_of(verdict.rules().begin(), verdict.rules().end(), asks);
    return asked ? 2 * static_cast<int>(policy::Action::kRedact) + 1 : 2 * static_cast<int>(action);
  };
  const int did = strictness(acted), said = strictness(shadow.verdict());
  counts_[output ? 1 : 0][said == did ? 0 : said > did ? 1 : 2] += 1;
}

ShadowCounts::Counts ShadowCounts::Of(bool output) const {
  const auto& counts = counts_[output ? 1 : 0];
  return {counts[0].load(), counts[1].load(), counts[2].load()};
}

v1::ShadowVerdict ShadowOf(const policy::PolicySet* shadow, const policy::Subject& subject, std::span<const policy::Message> prompt,
                           const policy::KeepGoing& keep_going) {
  if (shadow == nullptr) return {};
  const auto inspection = shadow->Inspect(subject, prompt, keep_going);
  if (inspection.ok()) return Made(*shadow, inspection->verdict, inspection->questions);
  return Made(*shadow, {}, {}, /*failed=*/true);
}

std::unique_ptr<policy::StreamFilter> OpenOutput(const directory::Judges& judges, const policy::Subject& subject,
                                                 const policy::Channel& channel, policy::KeepGoing keep_going,
                                                 policy::KeepGoing shadow_keeps_going) {
  auto filter = judges.acting->OpenOutput(subject, channel, std::move(keep_going));
  if (judges.shadow != nullptr)
    filter = std::make_unique<BesideFilter>(std::move(filter), *judges.shadow, subject, channel, std::move(shadow_keeps_going));
  return filter;
}

v1::ShadowVerdict ShadowOf(const policy::PolicySet& shadow, const policy::StreamFilter& filter, std::int64_t before) {
  const auto* semantic = dynamic_cast<const SemanticFilter*>(&filter);
  const auto* beside = dynamic_cast<const BesideFilter*>(semantic == nullptr ? &filter : &semantic->spans());
  return beside == nullptr ? v1::ShadowVerdict() : beside->ShadowOf(shadow, before);
}

}  // namespace tollgate::pipeline
