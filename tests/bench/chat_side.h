// A server that chats, as its clients see it: Tollgate over gRPC under full governance, or llama-server over HTTP. Both with the set-up's
// small model on the same number of threads, drawing from all tokens (temperature 1, top_p 1, top_k 0, min_p 0), and with the tokens that
// end a turn forbidden, so that an answer is as long as was asked for. All else is as each ships.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace tollgate::bench {

using Clock = std::chrono::steady_clock;

struct ChatAsk {
  std::string system;
  std::string prompt;
  int max_tokens = 0;
  std::chrono::milliseconds patience = std::chrono::minutes(3);  // Then the client goes.
};

// Called with each piece of text, when it came. False: the client goes.
using OnText = std::function<bool(Clock::time_point)>;

// What the server said at the end; `whole` is false if the client went before.
struct ChatSeen {
  bool whole = false;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  // Those of the prompt that it did not compute again.
  std::int64_t tokens = 0;
};

class ChatSide {
 public:
  virtual ~ChatSide() = default;
  // Asks, and returns when the answer is over. Ends the program if it is refused or breaks. Thread-safe.
  virtual ChatSeen Chat(const ChatAsk& ask, const OnText& on_text) = 0;
};

// As many chats at once have slots of so many tokens. Tollgate has one slot more: the one that it keeps for a tenant that holds none.
std::unique_ptr<ChatSide> MakeTollgate(int chats, int context_tokens);
std::unique_ptr<ChatSide> MakeLlamaServer(int chats, int context_tokens);

}  // namespace tollgate::bench
