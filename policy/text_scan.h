// TextScan: every detector of a program over one text that grows. What it finds, and where it found it, does not depend on the pieces.
//
// One thread. A copy goes on by itself from where the original was. The program, the selection and the effort, where there is one, must
// live as long. Once that is over, neither hits nor live starts mean anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policy/keyword_scan.h"
#include "policy/pattern.h"
#include "policy/program.h"

namespace tollgate::policy {

class TextScan {
 public:
  TextScan(const Program& program, const Program::Selection& selection, Effort* effort = nullptr);
  TextScan(const TextScan&) = default;
  TextScan& operator=(const TextScan&) = delete;

  // More of the text, whole code points. Adds hits that are final to `found`, offsets in this text, not in order. Returns the live start:
  // no hit that is still to come begins before it.
  std::int64_t Read(std::string_view piece, bool at_end, std::vector<Hit>& found);

  // The hit that was given last may go on, as a continuation.
  bool swallowing() const;
  std::int64_t end() const { return end_; }
  std::int64_t base() const { return base_; }  // Nobody asks for what lies before it any more.

 private:
  const Pattern& PatternOf(std::uint32_t source) const { return *program_.sources()[source].pattern; }
  Pattern::Window Window() const { return {text_, base_}; }
  std::string_view Bytes(std::int64_t from, std::int64_t to) const {
    return std::string_view(text_).substr(static_cast<std::size_t>(from - base_), static_cast<std::size_t>(to - from));
  }
  void ReadTriggers(std::int64_t fresh);
  bool Open(std::uint32_t source) const;
  void FindCapped(std::uint32_t source, std::int64_t fresh, bool at_end, std::vector<Hit>& found);
  void FindDecided(std::int64_t limit, std::vector<Hit>& found);
  std::int64_t LiveStart();
  std::int64_t ExactLiveStart();
  std::int64_t LiveStartOf(std::uint32_t source) const;

  const Program& program_;
  const Program::Selection& selection_;
  Effort* const effort_;
  std::vector<Pattern::Scan> scans_;        // By source.
  std::vector<std::int64_t> trigger_seen_;  // By source: where its last trigger word ended.
  AhoCorasick::State trigger_state_ = AhoCorasick::kStart;
  std::vector<KeywordScan> keywords_;
  std::vector<std::uint32_t> capped_, by_trigger_;
  std::uint32_t holder_ = UINT32_MAX;

  std::string text_;  // From base_ to end_.
  std::int64_t base_ = 0, decided_ = 0, end_ = 0;
};

}  // namespace tollgate::policy
