// Character classes and escapes of rule patterns: sets of code points. Used by regex_syntax.cpp.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "policy/regex_syntax.h"

namespace tollgate::policy {

std::vector<CodeRange> NormaliseRanges(std::vector<CodeRange> ranges);  // Sorted, disjoint, joined.
void AddOtherCases(std::vector<CodeRange>& normal);                     // Every case of every letter in them that takes no more bytes.
std::vector<CodeRange> Complement(const std::vector<CodeRange>& normal);

// One escape: a set (\d, \p{Greek}) or a single code point (\n, \x41, \101).
struct ClassItem {
  bool is_class = false;
  std::vector<CodeRange> ranges;
};

// Reads at a cursor in a pattern; errors as ParseRegex.
class ClassReader {
 public:
  ClassReader(std::string_view pattern, std::size_t at, bool ignore_case) : in_(pattern), at_(at), ignore_case_(ignore_case) {}
  absl::StatusOr<ClassItem> EscapeItem();            // At '\'.
  absl::StatusOr<std::vector<CodeRange>> Bracket();  // At '['; negation applied.
  std::size_t position() const { return at_; }

 private:
  absl::Status Wrong(std::string_view what) const;
  absl::StatusOr<char32_t> Hex();
  absl::StatusOr<ClassItem> UnicodeItem();  // At "\p" or "\P".
  absl::StatusOr<ClassItem> Item();
  char Peek(std::size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }

  std::string_view in_;
  std::size_t at_;
  bool ignore_case_;
};

}  // namespace tollgate::policy
