// What tests of the upstream engine share: a vocabulary that is known by heart, a model of words that a scripted upstream runs, and a
// replica over it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inference/pool.h"
#include "inference/replica.h"
#include "inference/tokenizer.h"
#include "tests/support/scripted_upstream.h"

namespace tollgate::inference::test {

using tollgate::test::Gate;
using tollgate::test::ScriptedUpstream;
using Exchange = ScriptedUpstream::Exchange;

// Token n < 256 is that byte; 256 ends a turn, 257 begins one; 300 + n is the word "w<n> ". 1000 in all.
constexpr std::int32_t kEndTurn = 256;
constexpr std::int32_t kWords = 300;
std::unique_ptr<Tokenizer> WordTokenizer();

// Events as upstreams send them.
std::string Event(const std::string& text, const std::vector<std::int32_t>& tokens = {}, const std::string& finish = "");
std::string UsageEvent(std::int64_t input, std::int64_t output);
inline const std::string kDone = "data: [DONE]\n\n";

// What a request asked for.
struct Asked {
  explicit Asked(const std::string& body);
  std::vector<std::int32_t> prompt;
  std::int64_t max_tokens = 0;
  std::vector<std::int32_t> banned;
  std::string salt;
  std::int64_t priority = -1;
};

// A model that says "w0 w1 w2 …" up to `words` and ends its turn; asked to go on from words, it goes on from there. A banned word is left
// out. `names_tokens`: as vLLM does where it is asked to.
struct WordModel {
  int words = 10;
  bool names_tokens = true;
  std::int64_t lie_input = 0;  // Added to the usage that it reports.
  std::int64_t lie_output = 0;
  std::function<void(int)> before_word = [](int) {};
  void Answer(Exchange& exchange) const;
};
std::string Said(int from, int to);  // "w<from> … w<to - 1> ".

ModelOptions Upstream(const std::vector<std::string>& endpoints, int slots = 4);
std::unique_ptr<Replica> StartUpstream(const ModelOptions& model, const base::Clock& clock = base::SystemClock());
SequenceRequest AskUpstream(const Replica& replica, const std::string& text = "hello");
std::shared_ptr<TokenStream> SubmitTo(Replica& replica, SequenceRequest request);

}  // namespace tollgate::inference::test
