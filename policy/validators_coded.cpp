// Addresses and documents whose check is computed over an encoding: Base58Check, Bech32, machine-readable zones, dates.
//
// Base58 is a number in base 58; its 25 (or more) bytes end in the first four of SHA-256 twice over the rest. Bech32 is a BCH code over the
// five-bit values of its characters, whose residue is 1 (BIP 173) or 0x2bc830a3 (BIP 350).
//
// Tested by tests/policy/validators_test.cpp.
#include <algorithm>
#include <array>
#include <string>

#include "base/crypto.h"
#include "policy/catalog/checksums.h"
#include "policy/validators.h"
#include "policy/validators_internal.h"

namespace tollgate::policy {
namespace {

// The bytes of a base-58 number, with a zero byte for each leading '1'; empty if a character is not of the alphabet.
std::string FromBase58(std::string_view text) {
  static constexpr std::string_view kAlphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  std::string bytes;  // Least significant first.
  for (const char c : text) {
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return "";
    auto carry = static_cast<unsigned>(digit);
    for (char& byte : bytes) {
      carry += static_cast<unsigned char>(byte) * 58u;
      byte = static_cast<char>(carry & 0xFF);
      carry >>= 8;
    }
    for (; carry > 0; carry >>= 8) bytes += static_cast<char>(carry & 0xFF);
  }
  bytes.append(std::min(text.find_first_not_of('1'), text.size()), '\0');
  std::reverse(bytes.begin(), bytes.end());
  return bytes;
}

bool PassesBase58Check(std::string_view text) {
  const std::string bytes = FromBase58(text);
  if (bytes.size() < 25) return false;
  const std::string_view body = std::string_view(bytes).substr(0, bytes.size() - 4);
  const base::Digest once = base::Sha256(body), twice = base::Sha256(base::View(once));
  return base::View(twice).substr(0, 4) == std::string_view(bytes).substr(bytes.size() - 4);
}

bool PassesBech32(std::string_view text) {
  static constexpr std::string_view kAlphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
  static constexpr std::array<std::uint32_t, 5> kGenerator = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
  std::uint32_t residue = 1;
  const auto add = [&](std::uint32_t value) {
    const std::uint32_t top = residue >> 25;
    residue = (residue & 0x1ffffff) << 5 ^ value;
    for (std::size_t i = 0; i < 5; ++i) residue ^= (top >> i & 1) != 0 ? kGenerator[i] : 0;
  };
  for (const std::uint32_t value : {'b' >> 5, 'c' >> 5, 0, 'b' & 31, 'c' & 31}) add(value);  // The prefix "bc", expanded.
  for (const char c : text.substr(3)) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return false;
    add(static_cast<std::uint32_t>(value));
  }
  return residue == 1 || residue == 0x2bc830a3;
}

int ReadNumber(std::string_view text, std::size_t& at) {
  int value = 0;
  for (; at < text.size() && IsDigit(text[at]); ++at) value = value * 10 + (text[at] - '0');
  ++at;  // The separator.
  return value;
}

}  // namespace

std::size_t AcceptBitcoinAddress(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  return (all.starts_with("bc1") ? PassesBech32(all) : PassesBase58Check(all)) ? end : 0;
}

std::size_t AcceptBase58Check(std::string_view text, std::size_t begin, std::size_t end) {
  return PassesBase58Check(text.substr(begin, end - begin)) ? end : 0;
}

std::size_t AcceptMrz(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view line = text.substr(begin, end - begin);
  const auto passes = [&](std::initializer_list<std::pair<std::size_t, std::size_t>> fields, std::size_t check) {
    static constexpr int kWeights[] = {7, 3, 1};
    int sum = 0;
    std::size_t place = 0;
    for (const auto& [from, count] : fields) {
      for (std::size_t i = from; i < from + count; ++i) sum += kWeights[place++ % 3] * Value(line, i);
    }
    return sum % 10 == Value(line, check);
  };
  // Passports have two lines of 44, some cards of 36, the second with numbers; most cards have three of 30, the last with names.
  if (line.size() > 30) {
    const std::size_t last = line.size() - 1;
    const bool dates = passes({{0, 9}}, 9) && passes({{13, 6}}, 19) && passes({{21, 6}}, 27);
    return dates && passes({{0, 10}, {13, 7}, {21, last - 21}}, last) ? end : 0;
  }
  if (!IsDigit(line[0])) return line.find("<<") != std::string_view::npos && passes({{5, 9}}, 14) ? end : 0;
  return passes({{0, 6}}, 6) && passes({{8, 6}}, 14) ? end : 0;
}

std::size_t AcceptMrzNames(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view line = text.substr(begin, end - begin);
  const std::size_t parted = line.find("<<", 1);
  const std::string_view kinds = line.size() == 44 ? "PV" : "ACIPV";
  const bool document = line.size() == 30 || kinds.find(line[0]) != std::string_view::npos;
  return document && parted < line.size() - 2 ? end : 0;
}

std::size_t AcceptBirthDate(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  const std::size_t first_separator = all.find_first_not_of("0123456789");
  if (all[first_separator] != all[all.find_last_not_of("0123456789")]) return 0;  // 1.2/1990
  std::size_t at = 0;
  const int first = ReadNumber(all, at);
  const int second = ReadNumber(all, at), third = ReadNumber(all, at);
  if (first_separator == 4) return first >= 1900 && IsDate(first, second, third) ? end : 0;
  const bool real = IsDate(third, second, first) || IsDate(third, first, second);  // Day first, or month first.
  return third >= 1900 && real ? end : 0;
}

std::size_t AcceptBirthDateInWords(std::string_view text, std::size_t begin, std::size_t end) {
  const std::string_view all = text.substr(begin, end - begin);
  std::size_t at = all.find_first_of("0123456789");
  const int day = ReadNumber(all, at);
  at = end - begin - 4;
  const int year = ReadNumber(all, at);
  return day >= 1 && day <= 31 && year >= 1900 && year < 2100 ? end : 0;
}

}  // namespace tollgate::policy
