// Near is an edit distance of at most a third of the word and one; a beginning of the other word counts as no further than two edits
// ("slot", "port_number"). Words beyond any name's length are not compared, so that input cannot make this dear.
//
// Tested by tests/base/nearest_word_test.cpp.
#include "base/nearest_word.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace tollgate::base {
namespace {

constexpr std::size_t kWordBytesMax = 128;

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string_view NearestWord(std::string_view word, std::span<const std::string_view> known) {
  if (word.empty() || word.size() > kWordBytesMax) return {};
  std::string_view best;
  std::size_t least = 2 + word.size() / 3;  // One more than is near enough.
  for (const std::string_view candidate : known) {
    std::size_t distance = EditDistance(word, candidate);
    if (candidate.starts_with(word) || word.starts_with(candidate)) distance = std::min<std::size_t>(distance, 2);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace tollgate::base
