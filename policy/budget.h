// Budget: what policies that are compiled together may come to in memory, in what is read of them and in what is built, and whether anybody
// still waits for them. Who writes a policy chooses what it costs, and the instance is everybody's. Inside policy/ only.
//
// One for each compilation; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/status.h"
#include "policy/matcher.h"

namespace tollgate::policy {

class Budget {
 public:
  static constexpr std::size_t kRulesMax = 2'000;
  static constexpr std::size_t kWordsMax = 1'000'000, kWordBytesMax = 64u << 20;
  static constexpr std::size_t kReadBytesMax = 256u << 20, kTableBytesMax = 512u << 20;
  static constexpr std::int64_t kMatcherBytesMax = std::int64_t{3} << 30;
  static constexpr std::size_t kValuesMax = 500'000;  // Of one YAML document.

  // `keep_going`, where there is one, is asked now and then.
  explicit Budget(std::function<absl::Status()> keep_going = nullptr) : keep_going_(std::move(keep_going)) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // Each takes what it says, or is INVALID_ARGUMENT with the bound and the remedy; from then on nothing more is to be read.
  absl::Status TakeRules(std::size_t rules);
  absl::Status TakeRead(std::size_t bytes);                      // Of YAML: aliases make much of little.
  absl::Status TakeWords(std::size_t words, std::size_t bytes);  // Keywords and hosts, in each rule that names their list.
  absl::Status TakeTable(std::size_t bytes);                     // Of what finds them.
  absl::Status TakeMatcher(std::int64_t bytes, Matcher::Use use = Matcher::Use::kSearch);  // What one RE2 may come to.
  std::size_t table_left() const { return kTableBytesMax - table_bytes_; }

  // What an RE2 is tried with first: most need little, and many may be what they like only as long as they are few. Those that run for each
  // token of replies have a share of their own, whatever the others took.
  std::int64_t MatcherBytes(Matcher::Use use) const;

  // The status of `keep_going`. What it refused with once is the answer from then on.
  absl::Status KeepGoing();
  const absl::Status& cancelled() const { return cancelled_; }
  bool over() const { return over_ || !cancelled_.ok(); }  // Something was refused.

 private:
  absl::Status Refuse(std::string_view what);

  const std::function<absl::Status()> keep_going_;
  absl::Status cancelled_;
  std::size_t rules_ = 0, words_ = 0, word_bytes_ = 0, read_bytes_ = 0, table_bytes_ = 0;
  std::int64_t matcher_bytes_ = 0, common_bytes_ = 0;
  bool over_ = false;
};

}  // namespace tollgate::policy
