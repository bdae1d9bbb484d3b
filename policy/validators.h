// Second looks at what a pattern found: checksums, structure and words beside it.
//
// A validator gets the text and a candidate [begin, end) in it, and returns where the accepted part ends (a prefix of the candidate, at
// least one byte), or 0 to reject. It may read the candidate and at most kLeftContextBytes before it, never what follows: that keeps a
// stream's verdict equal to that of the whole text. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "policy/aho_corasick.h"

namespace tollgate::policy {

inline constexpr std::size_t kLeftContextBytes = 64;

using Validator = std::size_t (*)(std::string_view text, std::size_t begin, std::size_t end);
using IdCheck = bool (*)(std::string_view id);  // Of letters and digits alone, letters in upper case. See catalog/checksums.h.

std::size_t AcceptEmail(std::string_view text, std::size_t begin, std::size_t end);               // Not file@2x.png, not git@host.
std::size_t AcceptCard(std::string_view text, std::size_t begin, std::size_t end);                // Issuer ranges, lengths, Luhn.
std::size_t AcceptIban(std::string_view text, std::size_t begin, std::size_t end);                // Country's length, mod 97.
std::size_t AcceptInternationalPhone(std::string_view text, std::size_t begin, std::size_t end);  // E.164: + and 8 to 15 digits.
std::size_t AcceptLocalPhone(std::string_view text, std::size_t begin, std::size_t end);          // Not a date, an address, an identifier.
std::size_t AcceptIp(std::string_view text, std::size_t begin, std::size_t end);                  // Octets or groups; not a version number.
std::size_t AcceptBirthDate(std::string_view text, std::size_t begin, std::size_t end);           // A real date since 1900.
std::size_t AcceptBirthDateInWords(std::string_view text, std::size_t begin, std::size_t end);    // "3 May 1984"
std::size_t AcceptMrz(std::string_view text, std::size_t begin, std::size_t end);                 // ICAO 9303 check digits.
std::size_t AcceptMrzNames(std::string_view text, std::size_t begin, std::size_t end);            // The line of a machine-readable name.
std::size_t AcceptBitcoinAddress(std::string_view text, std::size_t begin, std::size_t end);      // Base58Check, or Bech32(m).
std::size_t AcceptBase58Check(std::string_view text, std::size_t begin, std::size_t end);         // Four bytes of double SHA-256.

// Secrets. A value that only stands for one ("your-key-here", "${TOKEN}") is none.
std::size_t AcceptAssignedKey(std::string_view text, std::size_t begin, std::size_t end);  // name = value: entropy, no placeholder.
std::size_t AcceptMixedToken(std::string_view text, std::size_t begin, std::size_t end);   // Holds a digit and a letter, high entropy.
std::size_t AcceptPrivateKey(std::string_view text, std::size_t begin, std::size_t end);   // Its body is random.
bool HoldsPlaceholder(std::string_view value);

// Passwords, which may be any word where the place tells, and elsewhere hold letters and digits or marks. None: "$DB_PASS", "{{ pass }}".
std::size_t AcceptAssignedPassword(std::string_view text, std::size_t begin, std::size_t end);  // name = value
std::size_t AcceptPasswordInWords(std::string_view text, std::size_t begin, std::size_t end);  // "the password is …": not how it is kept.
std::size_t AcceptCurlPassword(std::string_view text, std::size_t begin, std::size_t end);     // What follows the last colon.
std::size_t AcceptUserPassword(std::string_view text, std::size_t begin, std::size_t end);     // The same, letters and digits.
std::size_t AcceptUrlPassword(std::string_view text, std::size_t begin, std::size_t end);      // Before the last '@'; not a port.
std::size_t AcceptConnectionPassword(std::string_view text, std::size_t begin, std::size_t end);  // From the first '=' to a ';'.
std::size_t AcceptNetrcPassword(std::string_view text, std::size_t begin, std::size_t end);       // What follows the last space.

// Characters that mislead. What emoji and scripts are written with is left alone.
std::size_t AcceptInvisible(std::string_view text, std::size_t begin, std::size_t end);  // Not the joiners of emoji, Persian, Hindi …
std::size_t AcceptTags(std::string_view text, std::size_t begin, std::size_t end);       // Not the flags of England, Scotland and Wales.
std::size_t AcceptHomoglyph(std::string_view text, std::size_t begin, std::size_t end);  // A word of Latin letters and their look-alikes.

// Words, as FoldCase gives them, one of which must stand beside a match. A blank of a word stands for a run of white space.
class ContextWords {
 public:
  ContextWords() = default;
  explicit ContextWords(std::vector<std::string> words);
  bool empty() const { return words_.empty(); }

  // One of them stands as a whole word, in any case, in the kLeftContextBytes before `begin`. Of a name of code ('_' and capitals part its
  // words) it is the end, or a word such as "number" alone follows: home_phone, phoneNumber.
  bool StandBefore(std::string_view text, std::size_t begin) const;

 private:
  std::vector<std::string> words_;
  AhoCorasick automaton_;
};

// What stands right before `begin` makes the candidate the tail of something longer: 2024-, ORD-, 1., a letter. Not one of `names` and a
// hyphen or a number sign: SSN-, SSN: #.
bool ContinuesSomething(std::string_view text, std::size_t begin, const ContextWords& names);

double BitsPerByte(std::string_view text);  // Shannon entropy.
// That of the text, or of its best stretch of that many bytes: what is put beside a secret makes it no less random.
double BestBitsPerByte(std::string_view text, std::size_t stretch);
// That of what words that stand for a secret ("dummy", "xxxx") leave of a value; 0 if it is shorter than that, or reads as words.
double BitsBesidePlaceholder(std::string_view value, std::size_t bytes_min);

}  // namespace tollgate::policy
