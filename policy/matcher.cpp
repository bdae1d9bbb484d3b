// RE2 gives a program two thirds of its memory forwards and one third backwards, and to each automaton what the instructions leave;
// forwards half of it, for there are two kinds. What it compiles is no sign that the automaton has room: with less than room for twenty
// states it is never built, and every search is a walk over all instructions for each byte, a hundred times slower, without a word. So that
// room is asked for here, reckoned with states that hold all instructions and every byte in a class of its own; most states are far
// smaller.
//
// Memory begins small and grows with the need: what a program may have it may come to, and the budget counts it. One whose automaton cannot
// be built at the most that one may have is refused. An automaton that outgrows its memory on some text begins anew, and where that does
// not help RE2 walks the instructions for that one search: right, and slow, which is what Effort is for.
//
// Tested by tests/policy/matcher_test.cpp.
#include "policy/matcher.h"

#include <algorithm>
#include <atomic>

#include <re2/re2.h>

#include "policy/budget.h"

namespace tollgate::policy {
namespace {

constexpr std::int64_t kMemoryMax = 128 << 20, kMemoryAlone = 16 << 20;

constexpr std::int64_t kStates = 20;  // RE2's own least.
constexpr std::int64_t kStateBytes = 8 * 257 + 64, kInstructionBytes = 16, kStateInstructionBytes = 8, kQueueInstructionBytes = 48;

std::atomic<bool> tells_failures{false};

std::int64_t MemoryFor(std::int64_t instructions) {
  return 3 *
         (kStates * (kStateBytes + kStateInstructionBytes * instructions) + (kInstructionBytes + kQueueInstructionBytes) * instructions);
}

std::unique_ptr<const re2::RE2> CompileRe2(const std::string& regex, std::int64_t memory) {
  re2::RE2::Options options;
  options.set_encoding(re2::RE2::Options::EncodingUTF8);
  options.set_longest_match(true);
  options.set_log_errors(tells_failures);
  options.set_never_capture(true);
  options.set_max_mem(memory);
  auto out = std::make_unique<const re2::RE2>(re2::StringPiece(regex.data(), regex.size()), options);
  return out->ok() && out->ReverseProgramSize() >= 0 ? std::move(out) : nullptr;
}

absl::Status TooLarge() { return base::InvalidArgument("the pattern is too large to run; use smaller repeats {n,m} or split it"); }

}  // namespace

Matcher::Matcher(std::unique_ptr<const re2::RE2> re)
    : re_(std::move(re)), instructions_(std::max(re_->ProgramSize(), re_->ReverseProgramSize())) {}
Matcher::~Matcher() = default;

void Matcher::TellFailures(bool tell) { tells_failures = tell; }

absl::StatusOr<std::shared_ptr<const Matcher>> Matcher::Compile(const std::string& regex, Use use, Budget* budget) {
  std::int64_t memory = budget == nullptr ? kMemoryAlone : budget->MatcherBytes(use);
  for (;;) {
    if (budget != nullptr) TG_RETURN_IF_ERROR(budget->KeepGoing());
    auto re = CompileRe2(regex, memory);
    if (re == nullptr) {
      if (memory == kMemoryMax) return TooLarge();
      memory = std::min(4 * memory, kMemoryMax);
      continue;
    }
    const std::int64_t forwards = use == Use::kSearch ? re->ProgramSize() : 0;
    const std::int64_t needed = MemoryFor(std::max<std::int64_t>(forwards, re->ReverseProgramSize()));
    if (needed > kMemoryMax) return TooLarge();
    if (needed > memory) {
      memory = needed;
      continue;
    }
    if (budget != nullptr) TG_RETURN_IF_ERROR(budget->TakeMatcher(memory, use));
    return std::shared_ptr<const Matcher>(new Matcher(std::move(re)));
  }
}

bool Matcher::Match(std::string_view text, std::size_t from, std::size_t to, std::size_t& begin, std::size_t& end, bool there) const {
  if (from > to) return false;
  re2::StringPiece found;
  const re2::StringPiece all(text.data(), text.size());
  if (!re_->Match(all, from, to, there ? re2::RE2::ANCHOR_START : re2::RE2::UNANCHORED, &found, 1)) return false;
  begin = static_cast<std::size_t>(found.data() - text.data());
  end = begin + found.size();
  return true;
}

}  // namespace tollgate::policy
