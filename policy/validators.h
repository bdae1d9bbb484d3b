// Second looks at what a pattern found: checksums, structure and words beside it.
//
// A validator gets the text and a candidate [begin, end) in it, and returns where the accepted part ends (a prefix of the candidate, at
// least one byte), or 0 to reject. It may read the candidate and at most kLeftContextBytes before it, never what follows: that keeps a
// stream's verdict equal to that of the whole text. Pure; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace tollgate::policy {

inline constexpr std::size_t kLeftContextBytes = 64;

using Validator = std::size_t (*)(std::string_view text, std::size_t begin, std::size_t end);

std::size_t AcceptEmail(std::string_view text, std::size_t begin, std::size_t end);        // Not file@2x.png, not git@host.
std::size_t AcceptCard(std::string_view text, std::size_t begin, std::size_t end);         // Issuer ranges, lengths, Luhn.
std::size_t AcceptIban(std::string_view text, std::size_t begin, std::size_t end);         // Country's length, mod 97.
std::size_t AcceptSsn(std::string_view text, std::size_t begin, std::size_t end);          // Area, group, serial; context unless dashed.
std::size_t AcceptPhone(std::string_view text, std::size_t begin, std::size_t end);        // +E.164, or a context word to the left.
std::size_t AcceptIp(std::string_view text, std::size_t begin, std::size_t end);           // Octets or groups; not a version number.
std::size_t AcceptAssignedKey(std::string_view text, std::size_t begin, std::size_t end);  // name = value: entropy, no placeholder.
std::size_t AcceptMixedToken(std::string_view text, std::size_t begin, std::size_t end);   // Holds a digit and a letter, high entropy.

// Words that make digits a phone number or a social-security number; lower case.
std::span<const std::string_view> PhoneContext();
std::span<const std::string_view> SsnContext();

// One of `words` stands as a whole word, in any case, in the kLeftContextBytes before `begin`.
bool HasContextWord(std::string_view text, std::size_t begin, std::span<const std::string_view> words);

bool PassesLuhn(std::string_view digits);
double BitsPerByte(std::string_view text);  // Shannon entropy.

}  // namespace tollgate::policy
