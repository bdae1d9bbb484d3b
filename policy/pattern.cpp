// RE2 runs what the tree prints, in UTF-8 mode (so a match never ends inside a code point) and leftmost-longest.
//
// The live suffix. P is the pattern's prefix closure (regex_facts.h). RE2 runs (?:P)\z on a window's tail: because the pattern is
// anchored at its end, only the reverse automaton runs, from the end of the text, and stops at the first byte that no prefix can have
// before it. Its cost is the length of the suffix it finds. A match that begins before that suffix is final: nothing that follows can
// make it longer, or make an earlier one.
//
// The cap. An unbounded pattern is looked at when the text reaches each checkpoint, a multiple of its cap: a suffix that has been live
// for at least the cap counts as a hit. Checkpoints are places in the text, not in time, so pieces do not matter. After such a hit the
// bytes that the unbounded part could consume belong to it too ("swallowing"): the tail of a key longer than the cap does not get out.
//
// A text is searched in pieces, none of which is more work than can be waited for: RE2 cannot be broken off.
//
// Tested by tests/policy/pattern_test.cpp.
#include "policy/pattern.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "policy/effort.h"
#include "policy/fold.h"
#include "policy/hosts.h"
#include "policy/matcher.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::int64_t kRetryInsideMax = 256;  // A rejected candidate this narrow is searched again from its second character.
// Of a text so many bytes are searched at once, or as many as make so many steps of the slowest search.
constexpr std::int64_t kPieceBytesMax = 64 << 10, kPieceBytesMin = 4 << 10, kPieceSteps = 16 << 20;

std::string LettersAndDigits(std::string_view match) {
  std::string out;
  for (const char c : match) {
    if (IsDigit(c) || IsLetter(c)) out += Upper(c);
  }
  return out;
}

const ByteSet& RunBytes() {
  static const ByteSet bytes = [] {
    ByteSet made;
    for (std::size_t c = 0; c < 0x80; ++c) made[c] = Pattern::IsRunByte(static_cast<char>(c));
    return made;
  }();
  return bytes;
}

bool InsideCodePoint(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

void PatternSpec::CutParting(std::string_view text, std::size_t& begin, std::size_t& end) const {
  if (parted_left && text[begin] == '_') ++begin;
  if (parted_right && text[end - 1] == '_') --end;
}

Pattern::Pattern(PatternSpec spec) : spec_(std::move(spec)) {}
Pattern::~Pattern() = default;

std::shared_ptr<const Pattern> Pattern::With(std::shared_ptr<const HostList> hosts) const {
  std::shared_ptr<Pattern> out(new Pattern(*this));
  out->spec_.hosts = std::move(hosts);
  return out;
}

absl::StatusOr<std::shared_ptr<const Pattern>> Pattern::Compile(PatternSpec spec, Budget* budget) {
  std::shared_ptr<Pattern> out(new Pattern(std::move(spec)));
  const RegexNode& tree = out->spec_.regex;
  out->width_ = WidthOf(tree);
  const bool unbounded = out->width_.max == RegexNode::kUnbounded;
  if (out->width_.min == 0)
    return base::InvalidArgument("the pattern matches the empty text; require at least one character, with + instead of *");
  if (unbounded && out->spec_.cap == 0) {
    return base::InvalidArgument(
        "the pattern is unbounded, so a stream could be held for ever; bound its repeats, as in {0,64}, or set `cap: BYTES`, at which it "
        "counts as a hit");
  }
  if (!unbounded && out->spec_.cap != 0) return base::InvalidArgument("the pattern is bounded and needs no `cap`; remove it");
  if (out->width_.max > kWidthMax) {
    return base::InvalidArgument(
        fmt::format("the pattern matches up to {} bytes; at most {} may be held: use smaller repeats", out->width_.max, kWidthMax));
  }
  TG_ASSIGN(out->matcher_, Matcher::Compile(PrintRegex(tree), Matcher::Use::kSearch, budget));
  out->loosened_prefixes_ = PrintPrefixes(tree, true);
  out->loosened_beginnings_ = PrintPrefixes(UpToLiteral(tree), true);
  const std::string prefixes = unbounded ? PrintPrefixes(tree, false) : out->loosened_prefixes_;
  TG_ASSIGN(out->live_, Matcher::Compile("(?:" + prefixes + ")\\z", Matcher::Use::kSuffix, budget));
  out->piece_bytes_ = std::clamp(kPieceSteps / out->matcher_->instructions(), kPieceBytesMin, kPieceBytesMax);
  if (!unbounded) out->piece_bytes_ = std::max(out->piece_bytes_, 2 * out->width_.max);
  out->spec_.columns = out->spec_.columns && out->looks_again();
  out->trigger_words_ = out->spec_.context.empty() ? RequiredLiterals(tree) : out->spec_.context;
  for (std::string& word : out->trigger_words_) word = FoldCase(word);
  out->context_ = ContextWords(out->spec_.context);
  out->names_ = ContextWords(out->spec_.names);
  out->literals_ = RequiredLiterals(tree);
  out->needs_ = {CountMin(tree, '0', '9'), CountMin(tree, '.', '.'), CountMin(tree, ':', ':'), CountMin(tree, '-', '-')};
  out->run_min_ = RunMin(tree, RunBytes());
  out->required_bytes_ = RequiredBytes(tree);
  out->start_ = MatchStart(tree);
  out->swallowed_ = UnboundedBytes(tree);
  return std::shared_ptr<const Pattern>(std::move(out));
}

bool Pattern::looks_again() const { return width_.max != RegexNode::kUnbounded && width_.max <= kRetryInsideMax; }

// Whoever writes on behind a key, or puts "dummy" before it, must not make it pass for none: what is judged is the least that the form
// allows, at its best place behind the prefix, which is not random.
bool Pattern::IsRandom(std::string_view match, double& bits) const {
  const std::size_t prefix = PrefixBytes(match), least = BodyBytesMin(prefix);
  const std::string_view body = match.substr(prefix);
  bits = HoldsPlaceholder(match) ? BitsBesidePlaceholder(body, least) : std::max(BitsPerByte(match), BestBitsPerByte(body, least));
  return bits >= spec_.bits_min;
}

std::size_t Pattern::PrefixBytes(std::string_view match) const {
  std::size_t out = 0;
  for (const std::string& literal : literals_) {
    if (FoldCase(match.substr(0, literal.size())) == literal) out = std::max(out, literal.size());
  }
  return out;
}

std::size_t Pattern::BodyBytesMin(std::size_t prefix) const { return std::max(static_cast<std::size_t>(width_.min), prefix + 1) - prefix; }

// Where the accepted part of a match ends, or 0. The cheap questions first.
std::size_t Pattern::Judge(const Window& window, std::size_t begin, std::size_t end, const Scan& scan, double& bits) const {
  const std::string_view text = window.text;
  if (spec_.whole && ContinuesSomething(text, begin, names_)) return 0;
  if (spec_.validator != nullptr) end = spec_.validator(text, begin, end);
  if (end == 0) return 0;
  const std::string_view match = text.substr(begin, end - begin);
  if (spec_.check != nullptr && !spec_.check(LettersAndDigits(match))) return 0;
  if (spec_.bits_min > 0 && !IsRandom(match, bits)) return 0;
  const bool named = context_.empty() || context_.StandBefore(text, begin) || scan.named.GoesOn(text, window.base, begin);
  return named ? end : 0;
}

bool Pattern::Accept(const Window& window, std::size_t begin, std::size_t end, Scan& scan, std::vector<Hit>& out) const {
  const std::size_t matched = begin;
  spec_.CutParting(window.text, begin, end);
  std::size_t next = end;
  double bits = 0;
  const std::size_t accepted =
      spec_.hosts != nullptr ? spec_.hosts->Accept(window.text, begin, end, next) : Judge(window, begin, end, scan, bits);
  if (accepted != 0) {
    out.push_back({window.base + static_cast<std::int64_t>(begin), window.base + static_cast<std::int64_t>(accepted)});
    out.back().bits_thousandths = static_cast<std::int32_t>(std::lround(bits * 1000));
    Hold(scan.effort, out.size());
    scan.next = window.base + static_cast<std::int64_t>(accepted);
    if (spec_.columns) scan.named = LastNamed(window.text, window.base, begin, accepted);
    return true;
  }
  if (looks_again()) {
    next = matched + 1;
    while (next < end && InsideCodePoint(window.text[next])) ++next;
  }
  scan.next = window.base + static_cast<std::int64_t>(next);
  return false;
}

// The first match that begins from `from` to before `last`. One that begins in a piece is no longer than what is searched behind it; one
// that begins behind the piece may be cut there, and is found again.
bool Pattern::Next(const Window& window, std::size_t from, std::size_t last, bool there, const Scan& scan, std::size_t& begin,
                   std::size_t& end) const {
  while (from < last) {
    const std::size_t piece = std::min(last, from + static_cast<std::size_t>(piece_bytes_));
    const std::size_t most = width_.max == RegexNode::kUnbounded ? window.text.size() : static_cast<std::size_t>(width_.max);
    const std::size_t to = std::min(window.text.size(), piece + most);
    if (!Spend(scan.effort, Effort::UnitsOf(to - from, matcher_->instructions()))) return false;
    if (matcher_->Match(window.text, from, to, begin, end, there) && begin < piece) return true;
    if (there) return false;
    from = piece;
  }
  return false;
}

void Pattern::Find(const Window& window, std::int64_t decided, Scan& scan, std::vector<Hit>& out) const {
  std::size_t begin = 0, end = 0;
  const auto last = static_cast<std::size_t>(std::max<std::int64_t>(0, std::min(decided, window.end()) - window.base));
  while (scan.next < decided && Next(window, static_cast<std::size_t>(scan.next - window.base), last, false, scan, begin, end))
    Accept(window, begin, end, scan, out);
  scan.next = std::max(scan.next, std::min(decided, window.end()));
}

// Where one place is asked for, RE2 need not look for where a match begins: that is half of what it does, and it stops sooner.
void Pattern::FindWithin(const Window& window, std::size_t first, std::size_t last, Scan& scan, std::vector<Hit>& out) const {
  std::size_t begin = 0, end = 0;
  scan.next = std::max(scan.next, static_cast<std::int64_t>(first));
  const auto search = [&] {
    while (scan.next < static_cast<std::int64_t>(last) &&
           Next(window, static_cast<std::size_t>(scan.next), last, last == first + 1, scan, begin, end))
      Accept(window, begin, end, scan, out);
  };
  search();
  // What was found names what comes next in its list or column.
  while (last < window.text.size() && scan.named.reach() > static_cast<std::int64_t>(last)) {
    last = std::min(window.text.size(), static_cast<std::size_t>(scan.named.reach()));
    search();
    scan.next = std::max(scan.next, static_cast<std::int64_t>(last));  // No other place before it need be asked about.
  }
}

void Pattern::FindCapped(const Window& window, bool at_end, bool searching, bool swallow, Scan& scan, std::vector<Hit>& out) const {
  if (scan.swallowing) {
    auto at = static_cast<std::size_t>(scan.next - window.base);
    const std::size_t from = at;
    while (at < window.text.size() && swallowed_[static_cast<unsigned char>(window.text[at])]) ++at;
    scan.next = window.base + static_cast<std::int64_t>(at);
    if (at > from) out.push_back({window.base + static_cast<std::int64_t>(from), scan.next, 0, 0, true});
    Hold(scan.effort, out.size());
    scan.swallowing = at == window.text.size();
    if (scan.swallowing) return;
  }
  std::int64_t live = at_end ? window.end() + 1 : LiveStart(window, scan.next, scan.effort);
  std::size_t begin = 0, end = 0;
  const std::size_t to = window.text.size();
  const auto next = [&] {
    const auto from = static_cast<std::size_t>(scan.next - window.base);
    const std::int64_t units = Effort::UnitsOf(to - from, matcher_->instructions());
    return Spend(scan.effort, units) && matcher_->Match(window.text, from, to, begin, end);
  };
  while (searching && live > scan.next && next()) {
    if (window.base + static_cast<std::int64_t>(begin) >= live) break;
    Accept(window, begin, end, scan, out);
    if (live < scan.next) live = LiveStart(window, scan.next, scan.effort);
  }
  const bool checkpoint = !at_end && window.end() == NextCheckpoint(window, window.end() - spec_.cap, spec_.cap);
  if (checkpoint && window.end() - live >= spec_.cap) {
    out.push_back({live, window.end()});
    scan.next = window.end();
    scan.swallowing = swallow;
  }
  scan.next = std::max(scan.next, std::min(live, window.end()));
}

std::int64_t Pattern::LiveStart(const Window& window, std::int64_t from, Effort* effort) const {
  if (spec_.cap == 0) from = std::max(from, window.end() - width_.max);
  from = std::max(from, window.base);
  std::size_t begin = 0, end = 0;
  auto at = static_cast<std::size_t>(from - window.base);
  while (at < window.text.size() && InsideCodePoint(window.text[at])) ++at;
  if (!Spend(effort, Effort::UnitsOf(window.text.size() - at, live_->instructions()))) return window.end();
  if (!live_->Match(window.text, at, window.text.size(), begin, end)) return window.end();
  return window.base + static_cast<std::int64_t>(begin);
}

std::int64_t NextCheckpoint(const Pattern::Window& window, std::int64_t after, std::int64_t cap) {
  after = std::max<std::int64_t>(after, 0);
  std::int64_t at = (after / cap + 1) * cap;
  while (at < window.end() && at >= window.base && InsideCodePoint(window.text[static_cast<std::size_t>(at - window.base)])) ++at;
  return at <= window.end() ? at : -1;
}

}  // namespace tollgate::policy
