// LogprobFilter: which log-probabilities may leave (promise P7): those of tokens whose text was released untouched, and of the alternatives
// beside them only those that policy would have let out at once, had the model chosen them. One request; one thread at a time.
//
//   for each piece:  logprobs.Push(piece, filter) -> text that may be released, as StreamFilter::Push gives it
//   at the end:      logprobs.Finish(filter)      -> the same, of all that is left
//   at a cut:        logprobs.Take(filter)        -> the tokens that lie in what the filter has decided
//
// Cost: for each alternative some microseconds more than pushing it; nothing where no log-probabilities are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "base/status.h"
#include "gateway/pipeline/call.h"
#include "inference/token_stream.h"
#include "policy/stream_filter.h"

namespace tollgate::pipeline {

class LogprobFilter {
 public:
  // Without log-probabilities being wanted it passes on what it is given. `remembers`: it keeps what was listed, for GoesAlong.
  explicit LogprobFilter(bool wanted, bool remembers = false) : wanted_(wanted), remembers_(remembers) {}

  // To come: the tokens of the same reply, from the first, of which `before` was given as many or more. What it had judged of them stands.
  void GoesAlong(const LogprobFilter& before) { known_ = before.listed_; }
  // What comes now is another text: nothing that was judged holds for it.
  void GoesAlone() { known_.clear(); }

  // How many alternatives Push would judge: whether it is work for an I/O thread.
  std::size_t AlternativesToJudge(const inference::Piece& piece) const;

  // Pushes a piece through the reply's filter, token by token where log-probabilities are wanted: text whose token has not come waits for
  // it. Errors as StreamFilter::Push.
  absl::StatusOr<std::string> Push(const inference::Piece& piece, policy::StreamFilter& filter);
  // Pushes what waits for a token that does not come: what follows is no text.
  absl::StatusOr<std::string> Flush(policy::StreamFilter& filter);
  // Pushes what waits, and finishes the filter. Errors as StreamFilter::Finish.
  absl::StatusOr<std::string> Finish(policy::StreamFilter& filter);

  // The tokens that end in what `filter` has decided since the last call, and not behind `shown`, without those of which anything was
  // changed or held back.
  Logprobs Take(const policy::StreamFilter& filter, std::int64_t shown = std::numeric_limits<std::int64_t>::max());

 private:
  struct Held {
    std::int64_t begin = 0, end = 0;  // In the raw output.
    tollgate::v1::TokenLogprob token;
  };

  absl::Status PushBytes(std::size_t bytes, policy::StreamFilter& filter, std::string& clear);
  void Add(const inference::OutputToken& token, const policy::StreamFilter& filter);
  void Settle(const policy::StreamFilter& filter);
  std::uint32_t ListedOf(const inference::OutputToken& token, const policy::StreamFilter& filter) const;
  bool Changed(const Held& held, const policy::StreamFilter& filter);

  // Of a token: the alternatives that may leave, as bits.
  struct Listed {
    std::int64_t text_end = 0;
    std::int32_t id = 0;
    std::uint32_t bits = 0;
  };

  const bool wanted_, remembers_;
  std::vector<Listed> known_, listed_;  // By token: as another had judged it, and as this one has.
  std::size_t added_ = 0;
  std::string waiting_;        // Text whose token has not come.
  std::int64_t pushed_ = 0;    // Bytes of raw output.
  std::int64_t last_end_ = 0;  // Of the last token.
  std::deque<Held> held_;      // Not decided yet.
  std::deque<Held> settled_;   // May leave.
  std::size_t span_ = 0;       // The first of the filter's raw spans that may still touch a token.
};

}  // namespace tollgate::pipeline
