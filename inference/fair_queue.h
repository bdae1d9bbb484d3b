// FairQueue: who gets the next free slot. A Virtual Token Counter for each tenant says how many tokens it has been served (prompt tokens
// count 1, output tokens 2); of the tenants that wait, the one served least comes first, and its own sequences in order of arrival. A
// tenant that comes back is lifted to the least of those that wait, so that idling saves nothing up. One thread (the replica's).
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
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
#include "base/uuid.h"
#include "inference/output_text.h"
#include "inference/pool.h"
#include "inference/stream_state.h"

namespace tollgate::inference {

constexpr std::int64_t kPromptTokenWeight = 1;
constexpr std::int64_t kOutputTokenWeight = 2;

struct Sequence;

struct TenantAccount {
  std::int64_t served = 0;  // Weighted tokens.
  std::deque<std::unique_ptr<Sequence>> waiting;
  int slots_held = 0;
  base::MonoTime seen;  // When it last brought a sequence.
};

// A request on its way: in the queue, then in a slot. Replica's thread only.
struct Sequence {
  explicit Sequence(SequenceRequest r) : request(std::move(r)), text(request.stop) {}

  SequenceRequest request;
  std::shared_ptr<StreamState> stream;
  OutputText text;
  std::vector<OutputToken> output;  // What stands of what was decoded.
  std::int64_t told = 0;            // Of those, given to the stream.
  StreamEnd end;          // Filled as it goes.
  StreamControl control;  // As last read.
  base::MonoTime queue_deadline;
  std::int64_t output_limit = 0;  // Tokens, at least 1.
  std::int64_t prompt_left = 0;   // Prompt tokens to be worked through.
  std::int64_t decoded = 0;  // In all, those that were taken back too.
  int slot = -1;
  bool parked = false;
  bool closing = false;              // Ended in this step; its slot is freed after it.
  TenantAccount* account = nullptr;  // While it holds a slot.

  // What the stream has not been told yet of what stands, with `new_text`.
  StreamNews News(std::string_view new_text, bool ends) {
    const std::int64_t from = std::exchange(told, text.delivered());
    std::span<const OutputToken> tokens;
    if (request.want_tokens) tokens = std::span(output).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(told - from));
    return {new_text, tokens, decoded, static_cast<std::int64_t>(output.size()), told, ends};
  }
};

class FairQueue {
 public:
  // A tenant counts as present while it holds or wants a slot, and for `presence` after it last brought a sequence.
  explicit FairQueue(std::chrono::microseconds presence = std::chrono::seconds(60)) : presence_(presence) {}

  void Push(std::unique_ptr<Sequence> sequence, base::MonoTime now);

  // The next sequence, charged with its prompt and counted as holding a slot; nullptr if none waits. `last_slot`: there is one slot, which
  // goes only to a tenant that holds none if other tenants are present.
  std::unique_ptr<Sequence> Pop(bool last_slot, base::MonoTime now);

  static void ChargeOutput(TenantAccount& account, std::int64_t tokens) { account.served += kOutputTokenWeight * tokens; }
  static void Release(TenantAccount& account) { --account.slots_held; }

  // Takes out what `gone` says, in no order, and hands it to `take`.
  void Remove(const std::function<bool(const Sequence&)>& gone, const std::function<void(std::unique_ptr<Sequence>)>& take);

  int size() const { return size_; }
  std::int64_t GapTokens() const;  // Most minus least served of those that wait.

 private:
  int Present(base::MonoTime now) const;
  void Prune(base::MonoTime now);

  std::map<base::TeamId, TenantAccount> accounts_;  // Nodes stay where they are: sequences point to them.
  std::chrono::microseconds presence_;
  std::int64_t last_served_ = 0;  // Counter of the tenant that was served last.
  int size_ = 0;
};

}  // namespace tollgate::inference
