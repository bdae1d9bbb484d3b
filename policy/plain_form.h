// What a character is taken for by a reader: its plain form.
//
// Full-width, mathematical, circled and other compatible characters become the ordinary ones (NFKC), digits of any script become 0 to 9,
// letters of other scripts that look like a Latin letter become it (Unicode TS 39), a letter whose cases take different numbers of bytes
// becomes what they share (ẞ is ß, the Turkish İ and ı are I and i), spaces and hyphens of any kind become ' ' and '-', quotation marks '
// and " (’ “ „ « and their kin), and what is not seen becomes nothing: zero-width characters, bidirectional controls, tags, combining marks
// but a script's behind its own characters, controls but white space, private characters, what Unicode has given to none, U+FFFC and
// U+FFFD. Behind the text's first quote (" or ') the escapes of JSON strings (RFC 8259 section 7) and \xHH become what they stand for, and
// so do those of JSON in a string of JSON: up to seven backslashes before an n, r, t, u, x or '"' are one escape (json_escape.h). A
// character depends on nothing that follows it, so that a stream waits for no other one; only an escape waits for its own end. Pure; any
// thread. Cost: ASCII is skipped sixteen bytes at a time, others are looked up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::policy {

// What a text stands behind.
struct Behind {
  char byte = ' ';  // The dashes of prose are hyphens only where they join something, – behind anything but a space and — behind a digit.
  char32_t seen = ' ';  // Of the plain form: a mark of a script spells behind its own characters, and is not seen behind others.
  bool quoted = false;  // There was a quote.
};

// Where the first character that is not its own plain form begins; text.size() if there is none. `text` is valid UTF-8. `behind`: what it
// stands behind; then what the place stands behind. `more` of it may follow: then what may be the beginning of an escape counts.
std::size_t FirstDisguised(std::string_view text, Behind& behind, bool more);
inline std::size_t FirstDisguised(std::string_view text) {
  Behind behind;
  return FirstDisguised(text, behind, false);
}

std::string ToPlain(std::string_view text);
std::string Decomposed(std::string_view text);  // Canonically (NFD): "é" as "e" and its accent.
std::string Composed(std::string_view text);    // The other way round (NFC).

// A letter that is not Latin and is taken for a Latin one.
bool LooksLatin(char32_t c);

// A character beyond ASCII that reads as blanks or marks of ASCII, which `out` then has, or as nothing: no letter, digit or accent.
bool ReadsAsMarks(char32_t c, std::string& out);

// A plain text that is made piece by piece, and the way back from it.
class PlainText {
 public:
  // Of this many unseen characters in a row the last becomes U+FFFD: nothing matches across, and what is held stays bounded.
  static constexpr int kUnseenMax = 64;

  // Up to `at` the plain text is the text itself.
  explicit PlainText(std::int64_t at = 0, Behind behind = {}) : raw_end_(at), plain_end_(at), behind_(behind) {
    spans_.push_back({0, 0, at, at, Kind::kSame});
  }

  // The plain form of the next whole code points, without an escape at their end that `more` of the text may complete.
  std::string Append(std::string_view raw, bool more = false);

  // Where the character begins that gave the byte at `plain`; past the last one: where it ended.
  std::int64_t RawBegin(std::int64_t plain) const;
  // Where the character ends that gave the byte before `plain`.
  std::int64_t RawEnd(std::int64_t plain) const;

  // Where the character begins, an escape for instance, in whose middle `raw` lies; else `raw`.
  std::int64_t CharacterBegin(std::int64_t raw) const;

  // Whether what gave the bytes from `begin` to `end` is other than they, and by quotation marks alone, of print or escaped: ’ for '.
  bool DiffersByQuotes(std::int64_t begin, std::int64_t end) const;

  std::int64_t raw_end() const { return raw_end_; }  // Of what was given the plain form of.
  std::int64_t plain_end() const { return plain_end_; }

  // Nobody asks for what lies before `plain`, or before `raw`, any more.
  void Forget(std::int64_t plain, std::int64_t raw);

 private:
  // Byte for byte, or one character's: an ASCII quotation mark's, or another's.
  enum class Kind { kSame, kQuote, kOther };
  struct Span {
    std::int64_t plain, raw, plain_end, raw_end;
    Kind kind;
    bool same() const { return kind == Kind::kSame; }
  };
  const Span& At(std::int64_t plain) const;
  void Add(std::size_t plain_bytes, std::size_t raw_bytes, Kind kind);

  std::vector<Span> spans_;  // Ascending, without what is not seen.
  std::int64_t raw_end_, plain_end_;
  Behind behind_;
  std::string begun_;  // An escape.
  int unseen_ = 0;
};

}  // namespace tollgate::policy
