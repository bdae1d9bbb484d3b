// TokenStream: the output of one sequence, as the pool makes it and one consumer takes it.
//
// The pool decodes ahead of the consumer by at most the model's stream_buffer_bytes of text; a consumer that does not take parks its own
// sequence and no other. Taking costs a short lock and never waits.
//
//   for (;;) switch (stream->Take(piece)) {
//     case Taken::kPiece:  Use(piece); break;                            // Text; whole code points.
//     case Taken::kParked: stream->Allow(more, no_more_after); break;    // Nothing to take until Allow (or an end).
//     case Taken::kEmpty:  stream->NotifyOnce(resume); return;           // Called when there is something.
//     case Taken::kEnd:    Settle(stream->end()); return;
//   }
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "inference/types.h"
#include "inference/upstream.h"

namespace tollgate::inference {

class StreamState;  // What the pool keeps of it.

// A token that came, but the server that computed it does not say which. It counts, and stands in no prompt.
constexpr std::int32_t kUnknownToken = 0x7FFFFFFF;

// A token of the output, where the request wants tokens. Log-probabilities are natural, and as the model gave them: before temperature,
// penalties, bias and cuts.
struct OutputToken {
  struct Alternative {
    std::int32_t id = 0;
    std::string bytes;
    float logprob = 0;
  };
  std::int32_t id = 0;           // Or kUnknownToken.
  std::string bytes;             // Perhaps part of a code point.
  float logprob = 0;             // Where the request wants it,
  std::vector<Alternative> top;  // with the likeliest, the likeliest first.
  std::int64_t text_end = 0;  // Bytes of the output's text up to which it needs it; one more than whole, where it ends inside a code point.
};

struct Piece {
  std::string text;                   // Valid UTF-8, whole code points; no byte of a stop string that was met is ever in it.
  std::int64_t text_at = 0;           // Bytes of the output before this piece. Less than what was taken after a Rewind: cut there.
  std::int64_t tokens_decoded = 0;    // Total decoded so far; this is what is billed.
  std::int64_t tokens_delivered = 0;  // Of the output's tokens, how many lie wholly in this piece and those before it.
  std::vector<OutputToken> tokens;    // Where the request wants tokens: those that this piece completes, the last being the
                                      // tokens_delivered-th of the output.
};

enum class Taken { kPiece, kParked, kEmpty, kEnd };

// How the sequence ended. Counts are final and exact.
struct StreamEnd {
  EndReason reason = EndReason::kStop;
  absl::Status status;                      // As EndReason says. For people: no content.
  std::int64_t input_tokens = 0;            // Of the prompt.
  std::int64_t input_tokens_evaluated = 0;  // Of those, how many the engine had worked through.
  std::int64_t cached_input_tokens = 0;     // Of those, how many came from this tenant's own prefix cache.
  std::int64_t tokens_decoded = 0;          // The token that ended the model's turn counts as one; what was taken back, too.
  std::int64_t tokens_taken_back = 0;       // Of those, by Rewind.
  std::int64_t tokens_delivered = 0;        // As in the last piece taken or still to be taken.
  std::vector<float> vectors;               // Of an EmbedJob that ended with kStop: what embed.h says.
  int stop_index = -1;                      // Which of the request's stop strings was met; -1: none.
  ReportedUsage reported;                   // What an upstream says, where one ran the sequence.
  base::MonoTime submitted_at;
  std::optional<base::MonoTime> started_at;  // When it got a slot.
  std::optional<base::MonoTime> first_token_at;
  base::MonoTime ended_at;
};

// Made by Pool::Submit. Take, Allow, Cancel and NotifyOnce may be called from any thread, one consumer at a time. May outlive the pool.
class TokenStream {
 public:
  explicit TokenStream(std::shared_ptr<StreamState> state);
  ~TokenStream();  // Cancels, and forgets the callback.
  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  // Takes all the text that is there, as one piece. kParked is given once for each time the allowance is met. After kEnd, always kEnd.
  Taken Take(Piece& piece);

  // `callback` is called once, when Take would give something other than kEmpty: at once, on the calling thread, if that is so now; else
  // from the replica's thread, where it must only hand over (post to a strand). A second NotifyOnce replaces a callback that has not run.
  // One that has started may still be running when the stream is destroyed: let it own what it uses. `patient`: text alone is no reason
  // to call, until it fills half of the buffer; for who wants all of it and not each piece.
  void NotifyOnce(std::function<void()> callback, bool patient = false);

  // Lets the sequence decode until `total_output_tokens` tokens stand in its output, counted from its start. Never lowers an earlier
  // allowance. `final`: the sequence ends there with kAllowance instead of parking. `goes_on`: another will be submitted at once, with
  // SequenceRequest::goes_on; its slot and its place in the queue are kept for that for 100 ms.
  void Allow(std::int64_t total_output_tokens, bool final, bool goes_on = false);

  // Takes output tokens back until the first `output_tokens` remain, and goes on from there with a token that is none of `banned`. Text
  // that was not taken is dropped; the next piece says where its text belongs. What was taken back stays counted as decoded and billed, and
  // uses up the allowance. A second Rewind before the first was carried out replaces it. False, and nothing is done: the sequence has
  // reached its end, the output has fewer tokens, or it was rewound kRewindsMax times; submit again with the tokens that stand. A model
  // that cannot take tokens back (recurrent ones) ends with kEngineFailed and UNIMPLEMENTED.
  static constexpr int kRewindsMax = 64;
  bool Rewind(std::int64_t output_tokens, std::vector<std::int32_t> banned);

  // Ends the sequence before its next step. Its end then comes as kEnd, with what had been decoded. If the engine itself hangs, the end
  // waits for it: bound your wait. `reason` kCancelled or kDeadline. `goes_on`: as Allow's, of one that is cancelled.
  void Cancel(EndReason reason = EndReason::kCancelled, bool goes_on = false);

  std::int64_t tokens_decoded() const;  // So far, those whose text is still held included.

  // Of a job that embeds: input tokens of the steps that are done or run, any of which a hung engine may have worked through.
  std::int64_t input_tokens_begun() const;

  // StreamEnd::cached_input_tokens, once a token was decoded.
  std::int64_t cached_input_tokens() const;

  // REQUIRES: Take has given kEnd.
  const StreamEnd& end() const;

 private:
  std::shared_ptr<StreamState> state_;
};

}  // namespace tollgate::inference
