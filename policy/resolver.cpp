// Everything hangs on order: hits are judged by where they begin, so whatever a decision at some place needs has been seen by then. An
// allow hit that covers a hit begins no later than it; a redaction that overlaps another extends the last edit; a block cuts it. Of the
// allow hits that began so far it is enough to know how far the furthest reaches: one that reaches the hit's end covers it.
//
// Tested by tests/policy/resolver_test.cpp.
#include "policy/resolver.h"

#include <algorithm>
#include <numeric>

namespace tollgate::policy {
namespace {

constexpr std::uint32_t kAllRules = UINT32_MAX;

}  // namespace

const char* ActionName(Action action) {
  static constexpr const char* kNames[] = {"allow", "flag", "redact", "block"};
  return kNames[static_cast<std::size_t>(action)];
}

const char* EffectName(Effect::Kind kind) {
  static constexpr const char* kNames[] = {"", "append_system", "route", "rate_limit", "justification", "approval", "terms"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string EffectText(const Effect& effect) {
  const std::string name = EffectName(effect.kind);
  return effect.kind == Effect::Kind::kRoute || effect.kind == Effect::Kind::kAccept ? name + " " + effect.text : name;
}

std::string TextOf(const Message& message) { return std::accumulate(message.parts.begin(), message.parts.end(), std::string()); }

const char* RoleName(Role role) {
  static constexpr const char* kNames[] = {"system", "user", "assistant", "tool"};
  return kNames[static_cast<std::size_t>(role)];
}

bool Span::operator==(const Span& other) const {
  return message == other.message && begin == other.begin && end == other.end && std::string_view(field) == other.field;
}

void Tally::Add(std::uint32_t rule, std::span<const Span> spans, const std::optional<Score>& score) {
  ++counts_[rule];
  if (spans_[rule].size() + spans.size() <= RuleOutcome::kSpansMax) spans_[rule].insert(spans_[rule].end(), spans.begin(), spans.end());
  if (!score) return;
  const auto [highest, first] = scores_.try_emplace(rule, *score);
  if (!first && score->value > highest->second.value) highest->second = *score;
}

Verdict Tally::ToVerdict() const {
  Verdict out;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (counts_[i] == 0) continue;
    const Rule& rule = rules_[i];
    out.action = std::max(out.action, rule.action);
    out.rules.push_back({rule.id, rule.action, rule.because, spans_[i], counts_[i], rule.effect, rule.severity});
    std::stable_sort(out.rules.back().spans.begin(), out.rules.back().spans.end(),
                     [](const Span& a, const Span& b) { return a.message < b.message; });
    if (const auto score = scores_.find(i); score != scores_.end()) out.rules.back().score = score->second;
  }
  return out;
}

std::optional<Score> ScoreOf(const Program& program, const Hit& hit) {
  if (hit.bits_thousandths == 0) return std::nullopt;
  return Score{hit.bits_thousandths / 1000.0, program.sources()[hit.source].pattern->spec().bits_min, "bits a character"};
}

void Exceptions::Note(const Hit& hit) {
  const Rule& rule = rules_[hit.rule];
  if (rule.action != Action::kAllow) return;
  Reached& reached = reached_[rule.exception ? hit.rule - 1 : kAllRules];
  reached.plain = std::max(reached.plain, hit.end);
  if (hit.views != Hit::kPlain) reached.written = std::max(reached.written, hit.end);
}

bool Exceptions::Covers(std::uint32_t rule, const Hit& hit) const {
  const auto reached = reached_.find(rule);
  if (reached == reached_.end()) return false;
  const std::int64_t end = hit.views == Hit::kPlain ? reached->second.plain : reached->second.written;
  return end > hit.begin && end >= hit.end;
}

bool Exceptions::Cover(const Hit& hit) const { return Covers(kAllRules, hit) || Covers(hit.rule, hit); }

Resolver::Resolver(const Program& program, Tally& tally, bool stop_at_block, std::vector<TextPlace> places, bool remembers)
    : Resolver(program, &tally, stop_at_block, std::move(places), remembers) {}

Resolver::Resolver(const Program& program, Tally* tally, bool stop_at_block, std::vector<TextPlace> places, bool remembers)
    : program_(program),
      tally_(tally),
      stop_at_block_(stop_at_block),
      remembers_(remembers),
      places_(std::move(places)),
      exceptions_(program.rules()),
      exempt_(program.sources().size(), 0) {}

Resolver Resolver::Fork() const {
  Resolver out(program_, nullptr, stop_at_block_, {}, /*remembers=*/false);
  out.exceptions_ = exceptions_;
  out.exempt_ = exempt_;
  out.counted_ = counted_;
  if (!edits_.empty()) out.edits_.push_back(edits_.back());
  out.blocked_ = blocked_;
  out.block_begin_ = block_begin_;
  out.block_rule_ = block_rule_;
  return out;
}

Verdict Resolver::VerdictBefore(std::int64_t begin) const {
  Tally tally(program_.rules());
  for (const Hit& hit : all_counted_) {
    if (hit.begin < begin) Count(hit, tally);
  }
  return tally.ToVerdict();
}

void Resolver::Count(const Hit& hit, Tally& tally) const {
  const auto ends_by = [](const TextPlace& place, std::int64_t at) { return place.end <= at; };
  std::vector<Span> spans;
  for (auto at = std::lower_bound(places_.begin(), places_.end(), hit.begin, ends_by); at != places_.end() && at->begin < hit.end; ++at) {
    spans.push_back({at->message, at->field, std::max(hit.begin, at->begin) - at->begin, std::min(hit.end, at->end) - at->begin});
  }
  tally.Add(hit.rule, spans, ScoreOf(program_, hit));
}

void Resolver::Redact(const Hit& hit) {
  if (!edits_.empty() && (hit.begin < edits_.back().end || (hit.continuation && hit.begin == edits_.back().end))) {
    edits_.back().end = std::max(edits_.back().end, hit.end);
    edits_.back().alone = edits_.back().alone && hit.views != Hit::kDecoded && program_.sources()[edits_.back().source].rule == hit.rule;
  } else if (!hit.continuation) {
    edits_.push_back({hit.begin, hit.end, hit.source, hit.views != Hit::kDecoded});
  }
}

void Resolver::Judge(std::span<const Hit> hits) {
  std::size_t noted = 0;
  for (const Hit& hit : hits) {
    if (blocked_ && stop_at_block_) break;
    while (noted < hits.size() && hits[noted].begin <= hit.begin) exceptions_.Note(hits[noted++]);
    const Action action = program_.rules()[hit.rule].action;
    if (hit.continuation) {
      if ((exempt_[hit.source] & hit.views) == 0) Redact(hit);
      continue;
    }
    if (action != Action::kAllow) {
      const bool exempt = exceptions_.Cover(hit);
      exempt_[hit.source] = static_cast<std::uint8_t>(exempt ? exempt_[hit.source] | hit.views : exempt_[hit.source] & ~hit.views);
      if (exempt) continue;
    }
    const bool again = hit.source == counted_.source && hit.begin == counted_.begin && hit.end == counted_.end;
    counted_ = hit;
    if (!again && tally_ != nullptr && !program_.rules()[hit.rule].exception) {
      Count(hit, *tally_);
      if (remembers_) all_counted_.push_back(hit);
    }
    if (action == Action::kRedact) Redact(hit);
    if (action != Action::kBlock || blocked_) continue;
    blocked_ = true;
    block_begin_ = hit.begin;
    block_rule_ = hit.rule;
    if (!stop_at_block_ || edits_.empty() || edits_.back().end <= hit.begin) continue;
    edits_.back().end = hit.begin;
    edits_.back().alone = false;
  }
}

}  // namespace tollgate::policy
