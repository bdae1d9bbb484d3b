// A pseudonym begins with '[', ends with ']' and has neither inside. So whether one lies across a place can only hang on the last '['
// before it, and two never overlap: to restore a text in pieces it is enough not to cut there.
//
// Tested by tests/policy/pseudonyms_test.cpp.
#include "policy/pseudonyms.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crypto.h"

namespace tollgate::policy {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr int kDigitsShown = 8, kBitsPerDigit = 5;

std::string PseudonymOf(std::string_view key, std::string_view label, std::string_view value) {
  const base::Digest mac = base::HmacSha256(key, fmt::format("{}:{}:{}", label.size(), label, value));
  std::uint64_t bits = 0;
  for (int i = 0; i < kDigitsShown * kBitsPerDigit / 8; ++i) bits = bits << 8 | mac[static_cast<std::size_t>(i)];
  std::string shown;
  for (int i = kDigitsShown - 1; i >= 0; --i) shown += kDigits[bits >> (i * kBitsPerDigit) & 31];
  return fmt::format("[{}_{}]", label, shown);
}

std::string JsonEscaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out;
}

}  // namespace

std::optional<std::string> Pseudonyms::Add(std::string_view label, std::string_view value, const std::string& rule_id) {
  if (key_.empty() || value.size() > kValueBytesMax) return std::nullopt;
  std::string text = PseudonymOf(key_, label.substr(0, kLabelBytesMax), value);
  if (const auto known = by_text_.find(text); known != by_text_.end()) {
    if (all_[known->second].value != value) return std::nullopt;
    return text;
  }
  if (all_.size() >= kPseudonymsMax) return std::nullopt;
  by_text_.emplace(text, all_.size());
  all_.push_back({text, std::string(value), rule_id});
  return text;
}

const Pseudonym* Pseudonyms::At(std::string_view text, std::size_t at) const {
  const std::size_t end = text.substr(at, kBytesMax).find(']');
  if (end == std::string_view::npos) return nullptr;
  const auto found = by_text_.find(text.substr(at, end + 1));
  return found == by_text_.end() ? nullptr : &all_[found->second];
}

std::size_t Pseudonyms::WholeUpTo(std::string_view text, std::size_t bytes, bool at_end) const {
  const std::size_t first = bytes - std::min(bytes, kBytesMax);
  const std::size_t open = text.substr(first, bytes - first).rfind('[');
  if (open == std::string_view::npos) return bytes;
  const std::size_t at = first + open;
  if (const Pseudonym* whole = At(text, at)) return at + whole->text.size() > bytes ? at : bytes;
  if (at_end) return bytes;
  const std::string_view begun = text.substr(at);
  const auto next = by_text_.lower_bound(begun);
  return next != by_text_.end() && next->first.starts_with(begun) ? at : bytes;
}

std::string Pseudonyms::Restore(std::string_view text, bool json, std::int64_t& room,
                                const std::function<void(const Restored&)>& restored) const {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; (at = text.find('[', at)) != std::string_view::npos;) {
    const Pseudonym* found = At(text, at);
    if (found == nullptr) {
      ++at;
      continue;
    }
    const std::string value = json ? JsonEscaped(found->value) : found->value;
    if (static_cast<std::int64_t>(value.size()) > room) {
      at += found->text.size();
      continue;
    }
    room -= static_cast<std::int64_t>(value.size());
    out += text.substr(done, at - done);
    const std::size_t begin = out.size();
    out += value;
    restored({*found, at, begin, out.size()});
    done = at += found->text.size();
  }
  return out.append(text.substr(done));
}

}  // namespace tollgate::policy
