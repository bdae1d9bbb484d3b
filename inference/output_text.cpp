// How it works. Utf8Joiner copies ASCII and complete, valid code points and keeps the start of an unfinished one; validity follows
// Unicode's table 3-7 (the second byte's range depends on the first), so that what is replaced is the maximal subpart.
//
// OutputText runs one Knuth-Morris-Pratt automaton for each stop string over the joined text. After each byte an automaton's state is the
// length of the longest suffix that could become its string; the longest of them all is held back, the rest may go out. So exactly the
// live suffix is held, in time linear in the text.
//
// Tested by tests/inference/output_text_test.cpp.
#include "inference/output_text.h"

#include <algorithm>

namespace tollgate::inference {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Bytes that a code point starting with `lead` has; 0 if none starts so.
int SequenceLength(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

bool MayFollow(std::string_view start, unsigned char next) {
  if (next < 0x80 || next > 0xBF) return false;
  if (start.size() > 1) return true;
  switch (static_cast<unsigned char>(start[0])) {
    case 0xE0: return next >= 0xA0;
    case 0xED: return next <= 0x9F;
    case 0xF0: return next >= 0x90;
    case 0xF4: return next <= 0x8F;
    default: return true;
  }
}

}  // namespace

void Utf8Joiner::Append(std::string_view bytes, std::string& out) {
  const bool ascii =
      pending_.empty() && std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii) {
    out.append(bytes);
  } else {
    AppendSlow(bytes, out);
  }
}

void Utf8Joiner::AppendSlow(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (!pending_.empty()) {
      if (MayFollow(pending_, byte)) {
        pending_.push_back(c);
        if (static_cast<int>(pending_.size()) == SequenceLength(static_cast<unsigned char>(pending_[0]))) {
          out.append(pending_);
          pending_.clear();
        }
        continue;
      }
      out.append(kReplacement);
      pending_.clear();
    }
    const int length = SequenceLength(byte);
    if (length == 1) {
      out.push_back(c);
    } else if (length == 0) {
      out.append(kReplacement);
    } else {
      pending_.push_back(c);
    }
  }
}

void Utf8Joiner::Finish(std::string& out) {
  if (!pending_.empty()) out.append(kReplacement);
  pending_.clear();
}

OutputText::OutputText(std::vector<std::string> stops) {
  for (std::string& text : stops) {
    Stop stop;
    stop.fail.assign(text.size() + 1, 0);
    for (std::size_t i = 1, k = 0; i < text.size(); ++i) {
      while (k > 0 && text[i] != text[k]) k = stop.fail[k];
      if (text[i] == text[k]) ++k;
      stop.fail[i + 1] = static_cast<std::uint32_t>(k);
    }
    stop.text = std::move(text);
    stops_.push_back(std::move(stop));
  }
}

bool OutputText::Append(std::string_view token_bytes, std::string& out) {
  if (stop_index_ >= 0) return true;
  ++tokens_;
  const std::size_t before = out.size();
  if (stops_.empty()) {
    joiner_.Append(token_bytes, out);
    given_ += out.size() - before;
    token_end_ = static_cast<std::int64_t>(given_) + (joiner_.pending() ? 1 : 0);
    if (!joiner_.pending() && token_ends_.empty()) {
      delivered_ = tokens_;
      return false;
    }
    token_ends_.push_back(static_cast<std::uint64_t>(token_end_));
    Deliver();
    return false;
  }
  const std::size_t from = held_.size();
  joiner_.Append(token_bytes, held_);
  token_end_ = static_cast<std::int64_t>(given_ + held_.size()) + (joiner_.pending() ? 1 : 0);
  token_ends_.push_back(static_cast<std::uint64_t>(token_end_));
  const bool met = Scan(from, out);
  Deliver();
  return met;
}

// Runs the automata over held_[from…] and moves what no stop string can need to `out`.
bool OutputText::Scan(std::size_t from, std::string& out) {
  for (std::size_t i = from; i < held_.size(); ++i) {
    std::size_t longest = 0;
    for (std::size_t s = 0; s < stops_.size(); ++s) {
      Stop& stop = stops_[s];
      std::uint32_t k = stop.matched;
      while (k > 0 && stop.text[k] != held_[i]) k = stop.fail[k];
      if (stop.text[k] == held_[i]) ++k;
      stop.matched = k;
      if (k == stop.text.size() && k > longest) {
        longest = k;
        stop_index_ = static_cast<int>(s);
      }
    }
    if (longest > 0) {
      out.append(held_, 0, i + 1 - longest);
      given_ += i + 1 - longest;
      held_.clear();
      return true;
    }
  }
  std::size_t keep = 0;
  for (const Stop& stop : stops_) keep = std::max<std::size_t>(keep, stop.matched);
  const std::size_t release = held_.size() - keep;
  out.append(held_, 0, release);
  given_ += release;
  held_.erase(0, release);
  return false;
}

void OutputText::Finish(std::string& out) {
  if (stop_index_ >= 0) return;
  const std::size_t from = held_.size();
  joiner_.Finish(held_);
  if (!stops_.empty() && Scan(from, out)) {
    Deliver();
    return;
  }
  out.append(held_);
  given_ += held_.size();
  held_.clear();
  token_ends_.clear();
  delivered_ = tokens_;
}

void OutputText::Deliver() {
  while (!token_ends_.empty() && token_ends_.front() <= given_) {
    token_ends_.pop_front();
    ++delivered_;
  }
}

}  // namespace tollgate::inference
