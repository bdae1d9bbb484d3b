// A word holds runs: of the base64 alphabet (with what pads them), of hexadecimal digits in those, and of percent-encoding. Nobody says
// where an encoded value begins ("token-QUtJ…" is all one alphabet), so longer base64 is decoded from each of four places and odd
// hexadecimal from two; what is no text there is dropped. Random bytes seldom give six printable ones in a row, and then nothing matches.
//
// Tested by tests/policy/decode_test.cpp.
#include "policy/encoded_runs.h"

#include <algorithm>
#include <array>

#include "policy/fold.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

constexpr std::size_t kTextBytesMin = 6;
constexpr std::size_t kBase64Min = 12, kBase64AnyPlaceMin = 24;
constexpr std::size_t kHexMin = 2 * kTextBytesMin;
constexpr std::int64_t kLineMin = 60;  // Mail breaks base64 at 76, keys at 64.
constexpr std::uint8_t kNone = 0xFF, kBreak = 0xFE;

constexpr std::array<std::uint8_t, 256> MakeBase64() {
  std::array<std::uint8_t, 256> out{};
  out.fill(kNone);
  std::uint8_t value = 0;
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (const char c : kAlphabet) out[static_cast<std::size_t>(c)] = value++;
  out['-'] = 62;
  out['_'] = 63;
  out['\r'] = out['\n'] = kBreak;
  return out;
}
constexpr std::array<std::uint8_t, 256> kBase64 = MakeBase64();

std::uint8_t Base64Of(char c) { return kBase64[static_cast<unsigned char>(c)]; }
bool IsWord(char c) { return Base64Of(c) < 64 || c == '.' || c == '~' || c == '%' || c == '=' || c == '@'; }

int HexOf(char c) {
  if (IsDigit(c)) return c - '0';
  const char low = Lower(c);
  return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

bool IsEscape(std::string_view text, std::size_t at) {
  return text[at] == '%' && at + 2 < text.size() && HexOf(text[at + 1]) >= 0 && HexOf(text[at + 2]) >= 0;
}

// The length of the printable code point at `at`, or 0.
std::size_t Printable(std::string_view bytes, std::size_t at) {
  const auto first = static_cast<unsigned char>(bytes[at]);
  if (first < 0x80) return (first >= 0x20 && first != 0x7F) || first == '\n' || first == '\r' || first == '\t' ? 1 : 0;
  std::size_t length = 0;
  const char32_t c = DecodeAt(bytes, at, length);
  const bool shortest = length == 2 ? c >= 0x80 : length == 3 ? c >= 0x800 : length == 4 && c >= 0x10000;
  return shortest && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF) && c >= 0xA0 ? length : 0;
}

class Decoder {
 public:
  Decoder(std::string_view word, const std::function<void(const Decoded&)>& fn) : word_(word), fn_(fn) {}

  // Percent-encoding, and forms, in which a blank is a '+'.
  void Percent(bool form) {
    for (std::size_t begin = 0, end = 0; begin < word_.size(); begin = end + 1) {
      end = std::min(word_.find('=', begin), word_.size());
      bytes_.clear();
      bool escaped = false;
      for (std::size_t at = begin; at < end; ++at) {
        const bool escape = IsEscape(word_, at) && at + 2 < end;
        const bool blank = form && word_[at] == '+';
        bytes_ += escape ? static_cast<char>(HexOf(word_[at + 1]) * 16 + HexOf(word_[at + 2])) : blank ? ' ' : word_[at];
        escaped = escaped || (form ? blank : escape);
        at += escape ? 2 : 0;
      }
      if (escaped) Tell(begin, end);
    }
  }

  void Base64() {
    for (std::size_t begin = 0, end = 0; begin < word_.size(); begin = std::max(end, begin + 1)) {
      if (Base64Of(word_[begin]) == kBreak) continue;  // A piece may begin with one; four places are counted from the first character.
      for (end = begin; end < word_.size() && Base64Of(word_[end]) != kNone; ++end) {
      }
      while (end > begin && Base64Of(word_[end - 1]) == kBreak) --end;
      std::size_t padded = end;
      while (padded < word_.size() && padded < end + 2 && word_[padded] == '=') ++padded;
      if (padded - begin >= kBase64Min) Run(begin, end, padded);
      end = padded;
    }
  }

  void Hex() {
    for (std::size_t begin = 0, end = 0; begin < word_.size(); begin = end + 1) {
      for (end = begin; end < word_.size() && HexOf(word_[end]) >= 0; ++end) {
      }
      for (std::size_t from = begin; from <= begin + (end - begin) % 2 && end - from >= kHexMin; ++from) {
        bytes_.clear();
        for (std::size_t at = from; at + 1 < end; at += 2) bytes_ += static_cast<char>(HexOf(word_[at]) * 16 + HexOf(word_[at + 1]));
        Tell(begin, end);
      }
    }
  }

 private:
  void Run(std::size_t begin, std::size_t end, std::size_t padded) {
    const std::size_t places = end - begin >= kBase64AnyPlaceMin ? 4 : 1;
    for (std::size_t place = 0; place < places; ++place) {
      bytes_.clear();
      std::uint32_t bits = 0;
      int count = 0;
      for (std::size_t at = begin + place; at < end; ++at) {
        const std::uint8_t value = Base64Of(word_[at]);
        if (value == kBreak) continue;
        bits = bits << 6 | value;
        if (count > 0) bytes_ += static_cast<char>(bits >> (6 - 2 * count));
        count = (count + 1) % 4;
      }
      if (Tell(begin, padded)) return;
    }
  }

  // Whether all of it was text.
  bool Tell(std::size_t begin, std::size_t end) {
    std::size_t from = 0, at = 0;
    while (at < bytes_.size()) {
      const std::size_t length = Printable(bytes_, at);
      if (length > 0) {
        at += length;
        continue;
      }
      TellText(begin, end, from, at);
      from = ++at;
    }
    TellText(begin, end, from, at);
    return from == 0;
  }

  void TellText(std::size_t begin, std::size_t end, std::size_t from, std::size_t to) {
    if (to - from >= kTextBytesMin) fn_({begin, end, std::string_view(bytes_).substr(from, to - from)});
  }

  const std::string_view word_;
  const std::function<void(const Decoded&)>& fn_;
  std::string bytes_;
};

}  // namespace

void WordCutter::End(std::int64_t next, std::vector<EncodedWord>& out) {
  if (at_ - begin_ >= kWordBytesMin && at_ > cut_) out.push_back({begin_, at_});
  begin_ = cut_ = next;
  line_ = 0;
  cr_ = false;
}

void WordCutter::Read(std::string_view piece, bool at_end, std::vector<EncodedWord>& out) {
  for (const char c : piece) {
    const bool line_ends = line_ >= kLineMin && line_ % 4 == 0 && (c == '\n' || (c == '\r' && !cr_));
    if (line_ends) {
      cr_ = c == '\r';
      line_ = cr_ ? line_ : 0;
    } else if (IsWord(c) && !cr_) {
      line_ = Base64Of(c) < 64 ? line_ + 1 : 0;
    } else {
      const bool begins = IsWord(c);  // Behind a lone carriage return.
      End(at_ + (begins ? 0 : 1), out);
      line_ = begins && Base64Of(c) < 64 ? 1 : 0;
    }
    ++at_;
    if (at_ - begin_ < kWordBytesMax) continue;
    out.push_back({begin_, at_});
    cut_ = at_;
    begin_ = at_ - kOverlapBytes;
  }
  if (at_end) End(at_, out);
}

void ForEachDecoded(std::string_view word, const std::function<void(const Decoded&)>& fn) {
  Decoder decoder(word, fn);
  if (word.find('%') != std::string_view::npos) decoder.Percent(/*form=*/false);
  if (word.find('+') != std::string_view::npos) decoder.Percent(/*form=*/true);
  if (word.size() < kBase64Min) return;
  decoder.Base64();
  decoder.Hex();
}

}  // namespace tollgate::policy
