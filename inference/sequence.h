// Sequence: a request on its way through a replica: in the queue, then in a slot. Replica's thread only. Internal to the room.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "inference/adapter_turns.h"
#include "inference/grammar.h"
#include "inference/output_text.h"
#include "inference/pool.h"
#include "inference/prompt_side.h"
#include "inference/stream_state.h"

namespace tollgate::inference {

struct TenantAccount;
struct KeyAccount;

// An adapter that is loaded. Who holds one keeps it loaded.
struct LoadedAdapter {
  int handle = 0;  // The engine's.
  AdapterInfo info;
};
using AdaptersHeld = std::vector<std::shared_ptr<const LoadedAdapter>>;  // By handle, ascending.
using AdaptersByName = std::map<std::string, std::shared_ptr<const LoadedAdapter>, std::less<>>;

struct Sequence {
  explicit Sequence(SequenceRequest r) : request(std::move(r)), text(request.stop) {}

  SequenceRequest request;
  std::shared_ptr<StreamState> stream;
  OutputText text;
  std::vector<OutputToken> output;  // What stands of what was decoded.
  std::int64_t told = 0;            // Of those, given to the stream.
  StreamEnd end;                    // Filled as it goes.
  StreamControl control;            // As last read.
  base::MonoTime queue_deadline;
  std::int64_t output_limit = 0;         // Tokens, at least 1.
  std::int64_t prompt_left = 0;          // Prompt tokens to be worked through.
  std::int64_t published = 0;            // Published prompt tokens that another tenant worked through; they count at the prompt's end.
  std::int64_t group = 0;                // Others of it have the same prompt; 0 = none.
  std::vector<std::int64_t> input_ends;  // Of an EmbedJob: where each of its inputs ends among the prompt's tokens.
  std::vector<std::string> input_texts;  // EmbedJob::texts, until it has a slot.
  std::size_t inputs_done = 0;
  AdaptersHeld adapters;
  AdapterSet adapter_set;                        // Their handles.
  std::shared_ptr<CheckedGrammar> grammar_read;  // Until it has a slot.
  std::int64_t decoded = 0;                      // In all, those that were taken back too.
  std::optional<base::MonoTime> last_token_at;   // Of output, since it last went on.
  int slot = -1;
  bool parked = false;
  base::MonoTime parked_at;  // Since when, where it is.
  // Where cells are shared (cell_pool.h).
  bool suspended = false;       // It has no cells,
  base::MonoTime suspended_at;  // since then.
  bool held = false;            // There are none for it to grow by in this step.
  std::int64_t suspended_bytes = 0;
  std::int64_t guard = 0;      // Output tokens until it may be suspended.
  std::int64_t redo_left = 0;  // Tokens that it had worked through before, to be worked through again.
  bool closing = false;        // Ended in this step; its slot is freed after it,
  bool keeps = false;          // and kept, as its place is, for the one that goes on for it.

  // The fair queue's.
  std::int64_t output_due = 0;       // Output tokens that its tenant's lead allows for.
  TenantAccount* account = nullptr;  // While it holds a slot.
  KeyAccount* key_account = nullptr;

  // Cells that it takes with its prompt whole: of its output all but the last token, which the next step feeds.
  std::int64_t Cells() const { return end.input_tokens + std::max<std::int64_t>(std::ssize(output) - 1, 0); }

  std::string_view Grammar() const { return request.json ? JsonGrammar() : std::string_view(request.grammar); }  // GBNF; empty: none.

  std::int64_t to_work() const { return prompt_left + redo_left; }  // Before it can decode.

  bool Runs() const { return !closing && !parked && !suspended && !held; }

  // Output tokens that the allowance and its own limit let stand; what was taken back has used up some of the allowance.
  std::int64_t OutputMax() const {
    return std::min(output_limit, control.allowance - (decoded - static_cast<std::int64_t>(output.size())));
  }

  // What the stream has not been told yet of what stands, with `new_text`.
  StreamNews News(std::string_view new_text, bool ends) {
    const std::int64_t from = std::exchange(told, text.delivered());
    std::span<const OutputToken> tokens;
    if (request.want_tokens || request.logprobs >= 0)
      tokens = std::span(output).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(told - from));
    return {new_text, tokens, decoded, static_cast<std::int64_t>(output.size()), told, ends};
  }
};

}  // namespace tollgate::inference
