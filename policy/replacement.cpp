// Stars hide the span's length too. A span that is not at least twice as long as what would stay shows nothing, and neither does one that
// another rule hit as well: its end might be what that rule hides.
//
// A digest is HMAC-SHA-256 of the span's bytes under the rule's salt, cut to 48 bits: enough to tell values apart within a conversation.
//
// Tested by tests/policy/replacement_test.cpp.
#include <fmt/format.h>

#include "base/crypto.h"
#include "policy/rule.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kDigestBytes = 6;

bool BeginsCodePoint(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

// The last `count` characters, or nothing if the text is shorter than twice that.
std::string_view Tail(std::string_view text, int count) {
  std::size_t at = text.size();
  int characters = 0, all = 0;
  for (std::size_t i = text.size(); i > 0; --i) {
    if (!BeginsCodePoint(text[i - 1])) continue;
    ++all;
    if (characters == count) continue;
    ++characters;
    at = i - 1;
  }
  return count == 0 || all < 2 * count ? std::string_view() : text.substr(at);
}

}  // namespace

std::string Replacement::For(std::string_view span, bool alone) const {
  switch (form) {
    case Form::kText: return text;
    case Form::kMask: return kStars + std::string(alone ? Tail(span, keep_last) : "");
    case Form::kPseudonym: return fmt::format("[{}]", text);
    case Form::kHash: break;
  }
  std::string digest;
  const base::Digest mac = base::HmacSha256(salt, span);
  for (std::size_t i = 0; i < kDigestBytes; ++i) digest += fmt::format("{:02x}", mac[i]);
  return fmt::format("[{}:{}]", text, digest);
}

}  // namespace tollgate::policy
