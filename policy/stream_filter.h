// StreamFilter: lets a reply out while it is written, and no byte of what a rule redacts or blocks (promise P7).
//
// Push each piece as it is decoded; send what Push returns, at once. The concatenation of everything returned, Finish's included,
// is byte for byte PolicySet::FilterWhole of the complete reply, whatever the pieces were. What is held back is exactly the text that
// could still become part of a match: a few tokens, never more than a rule's longest match (or twice its `cap`).
//
//   auto filter = policies->OpenOutput(subject);
//   while (piece) { TG_ASSIGN(auto text, filter->Push(piece)); Send(text); if (filter->blocked()) break; }
//   TG_ASSIGN(auto rest, filter->Finish()); Send(rest);
//
// Pieces are whole UTF-8 code points; so is what comes out. One filter per choice and channel; one thread at a time. Cost: less
// than a microsecond per token, and a few kilobytes. It keeps its rules alive: a policy that is replaced meanwhile does not change it.
//
// Errors: INVALID_ARGUMENT for a piece that is not whole, valid UTF-8; FAILED_PRECONDITION for Push after Finish. After an error the
// filter lets nothing out any more: end the reply.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "policy/verdict.h"

namespace tollgate::policy {

class StreamFilter {
 public:
  virtual ~StreamFilter() = default;

  // The text that may be released now; often empty. Once blocked() it stays empty: stop decoding and end with `content_filter`.
  virtual absl::StatusOr<std::string> Push(std::string_view raw) = 0;

  // The end of the reply: what was held and turned out to be harmless. Call it once, also after a block (it is empty then).
  virtual absl::StatusOr<std::string> Finish() = 0;

  // Some rule looks at what is pushed, or a pseudonym may stand in it: it may come out otherwise, or not at all.
  virtual bool acts() const = 0;

  // A block rule hit. Everything before the hit has been released; nothing after it ever is.
  virtual bool blocked() const = 0;

  // What hit so far, in the order of the policy; complete after Finish or a block.
  virtual const Verdict& verdict() const = 0;

  // The same of a reply that ended within what came out: what begins before the raw byte `before`. At the end of a reply: it counts anew.
  virtual Verdict VerdictBefore(std::int64_t before) const = 0;

  // The raw text behind every placeholder, and behind a block from its first byte on (to the end of what was pushed). By offset.
  virtual const std::vector<RawSpan>& raw() const = 0;

  // Where in all that Push and Finish gave something else stands than was pushed, as [begin, end), ascending: the rules' own texts, and
  // values that pseudonyms stood for. One for each of raw(), in its order, but for what a block kept.
  virtual const std::vector<std::pair<std::int64_t, std::int64_t>>& replaced() const = 0;

  // Raw bytes pushed and not yet decided.
  virtual std::size_t held_bytes() const = 0;
  // Raw bytes pushed in all; of those, how many come before the first undecided or blocked byte.
  virtual std::int64_t pushed_bytes() const = 0;
  virtual std::int64_t decided_bytes() const = 0;

  // Whether all of `next`, pushed now, would come out at once and as it is. Nothing changes. Costs what Push does and some microseconds.
  virtual bool LetsOut(std::string_view next) const = 0;
};

}  // namespace tollgate::policy
