// llama_server: Tollgate with everything on (identity, 20 rules, audit, quotas, ledger) over gRPC, against llama-server over HTTP with
// nothing of it: the same libllama, model file, threads, sampling and usable slots, interleaved (A B B A). chat_side.h says what is alike.
//
//   pool.vs_llama_server.clients16   tokens a second of 16 clients that ask at once, ours ÷ theirs; at least 1
//   pool.itl_p99_vs_llama_server     how long a reader waits for more text of one of 15 chats while a prompt of 4,000 tokens is worked
//                                    through beside them, p99, ours ÷ theirs; at most 0.1. We give several tokens at once, once they are
//                                    on record: a wait is counted whole, whatever it brings.
//   pool.ttft_1kb_vs_llama_server    a tenant's own system prompt of 1 KB again, with another question each time: time to first text,
//                                    ours ÷ theirs; at most 1. Both keep what they have computed.
//   NAME.ours, NAME.theirs           what the ratio is made of
//
// Arguments choose parts: clients, itl, ttft; none: all. TOLLGATE_BENCH_PAIRS (4: 8 runs of each side, clients alone),
// TOLLGATE_BENCH_TOKENS (64 a client), TOLLGATE_BENCH_LONG_PAIRS (4: 8 long prompts on each side).
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <set>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "tests/bench/chat_side.h"
#include "tests/bench/figures.h"

namespace tollgate::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kClients = 16;
constexpr int kContext = 512;
constexpr int kLongContext = 4352;
constexpr int kLongWords = 3950;                     // Of one token each; the chat format adds a few.
constexpr auto kBesideMax = seconds(60);             // A long prompt is watched no longer.
constexpr auto kPatience = std::chrono::minutes(3);  // Beside a long prompt, a reader of llama-server waits long on a busy machine.
constexpr char kSystem[] = "You tell stories.";

double Millis(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// Common words, each a token of its own with the space before it; no two prompts begin alike.
std::string Words(int words, int number) {
  static const char* const kWords[] = {"the", "of", "and", "to",   "in", "is", "that", "for",
                                       "was", "on", "as",  "with", "be", "by", "at",   "from"};
  std::string out = fmt::format("{:05}", number);
  auto mixed = static_cast<unsigned>(number) * 2654435761U + 1;
  for (int i = 0; i < words; ++i) {
    mixed = mixed * 1664525U + 1013904223U;
    out += fmt::format(" {}", kWords[mixed >> 28]);
  }
  return out;
}

// A prompt of its own for each request of this program.
int NextNumber() {
  static std::atomic<int> number{0};
  return ++number;
}

// Calls ours and theirs so many times each, in the order A B B A.
template <typename Ours, typename Theirs>
void Interleave(int pairs, const Ours& ours, const Theirs& theirs) {
  for (int i = 0; i < pairs; ++i) {
    theirs();
    ours();
    ours();
    theirs();
  }
}

// Of runs that were interleaved so: each of ours stands beside one of theirs.
void PrintRatio(const std::string& name, const std::vector<double>& ours, const std::vector<double>& theirs, const char* unit) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs[i]);
  PrintMedian(name, ratios, "ratio", 3);
  PrintMedian(name + ".ours", ours, unit, 1);
  PrintMedian(name + ".theirs", theirs, unit, 1);
}

// The two must have read the same prompt.
void Compare(const char* what, const ChatSeen& ours, const ChatSeen& theirs) {
  fmt::print(stderr, "llama_server_bench: {}: {} prompt tokens here, {} of them kept; {} there, {} of them kept\n", what,
             ours.prompt_tokens, ours.cached_tokens, theirs.prompt_tokens, theirs.cached_tokens);
  if (std::abs(ours.prompt_tokens - theirs.prompt_tokens) * 50 > theirs.prompt_tokens) Fail("the two do not read the same prompt");
}

double TokensPerSecond(ChatSide& side, int tokens) {
  std::vector<std::thread> clients;
  const auto began = Clock::now();
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&side, tokens, number = NextNumber()] {
      const std::string prompt = fmt::format("{:05} Write a very long story about a river, with every detail you can think of.", number);
      const ChatSeen seen = side.Chat({.system = kSystem, .prompt = prompt, .max_tokens = tokens}, [](Clock::time_point) { return true; });
      if (!seen.whole || seen.tokens != tokens) Fail(fmt::format("a client got {} tokens of {}", seen.tokens, tokens));
    });
  }
  for (std::thread& client : clients) client.join();
  return kClients * tokens / std::chrono::duration<double>(Clock::now() - began).count();
}

void MeasureClients(int pairs, int tokens) {
  const auto tollgate = MakeTollgate(kClients, kContext), llama_server = MakeLlamaServer(kClients, kContext);
  TokensPerSecond(*tollgate, tokens);
  TokensPerSecond(*llama_server, tokens);
  std::vector<double> ours, theirs;
  Interleave(
      pairs, [&] { ours.push_back(TokensPerSecond(*tollgate, tokens)); },
      [&] { theirs.push_back(TokensPerSecond(*llama_server, tokens)); });
  PrintRatio("pool.vs_llama_server.clients16", ours, theirs, "tokens/s");
}

// A chat that goes on until it is told to stop, and when its text came.
class Running {
 public:
  explicit Running(ChatSide& side)
      : reader_([this, &side] {
          const ChatAsk ask{
              .system = kSystem, .prompt = Words(20, NextNumber()), .max_tokens = kLongContext - 200, .patience = 4 * kPatience};
          side.Chat(ask, [this](Clock::time_point at) {
            times_.push_back(at);
            ++count_;
            return !stop_;
          });
          if (!stop_) Fail("a chat ended before its time");
        }) {}

  int count() const { return count_; }
  void Stop() { stop_ = true; }
  // Once stopped. The waits that reach into this span, in ms, are added.
  void Waits(Clock::time_point from, Clock::time_point to, std::vector<double>& ms) {
    if (reader_.joinable()) reader_.join();
    for (std::size_t i = 1; i < times_.size(); ++i) {
      if (times_[i] > from && times_[i - 1] < to) ms.push_back(Millis(times_[i] - times_[i - 1]));
    }
  }

 private:
  std::atomic<int> count_{0};
  std::atomic<bool> stop_{false};
  std::vector<Clock::time_point> times_;
  std::thread reader_;
};

void WaitForMore(const std::deque<Running>& chats, int pieces) {
  const auto give_up = Clock::now() + kPatience;
  for (const Running& chat : chats) {
    for (const int until = chat.count() + pieces; chat.count() < until;) {
      if (Clock::now() > give_up) Fail("a chat gives no text");
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
}

// Of the waits for text of chats beside a long prompt.
struct Beside {
  double p99_ms;
  double p50_before_ms;
  double first_s;  // The long prompt's own time to first text; less if it was watched no longer.
  ChatSeen seen;
};

Beside BesideLongPrompt(ChatSide& side) {
  std::deque<Running> chats;
  for (int i = 1; i < kClients; ++i) chats.emplace_back(side);
  WaitForMore(chats, 3);
  const auto steady = Clock::now();
  std::this_thread::sleep_for(seconds(3));
  const auto arrives = Clock::now();
  Clock::time_point first = arrives + kBesideMax;
  const ChatAsk ask{.system = kSystem, .prompt = Words(kLongWords, NextNumber()), .max_tokens = 2, .patience = kBesideMax};
  const ChatSeen seen = side.Chat(ask, [&](Clock::time_point at) {
    first = std::min(first, at);
    return true;
  });
  WaitForMore(chats, 1);  // The waits that the long prompt began are over.
  for (Running& chat : chats) chat.Stop();
  std::vector<double> before, beside;
  for (Running& chat : chats) {
    chat.Waits(steady, arrives, before);
    chat.Waits(arrives, first, beside);
  }
  std::sort(beside.begin(), beside.end());
  std::this_thread::sleep_for(seconds(1));  // Both sides see that their clients went.
  return {Quantile(beside, 0.99), Median(before), Millis(first - arrives) / 1000, seen};
}

void MeasureItl(int pairs) {
  const auto tollgate = MakeTollgate(kClients, kLongContext), llama_server = MakeLlamaServer(kClients, kLongContext);
  std::vector<double> ours, theirs, our_first, their_first, our_before, their_before;
  ChatSeen here, there;
  const auto run = [](ChatSide& side, std::vector<double>& p99, std::vector<double>& first, std::vector<double>& before, ChatSeen& seen) {
    const Beside beside = BesideLongPrompt(side);
    fmt::print(stderr,
               "llama_server_bench: beside a long prompt p99 {:.0f} ms, before it p50 {:.0f} ms; its own first text after {:.1f} s\n",
               beside.p99_ms, beside.p50_before_ms, beside.first_s);
    p99.push_back(beside.p99_ms);
    first.push_back(beside.first_s);
    before.push_back(beside.p50_before_ms);
    seen = beside.seen;
  };
  Interleave(
      pairs, [&] { run(*tollgate, ours, our_first, our_before, here); },
      [&] { run(*llama_server, theirs, their_first, their_before, there); });
  if (here.whole && there.whole) Compare("a long prompt", here, there);
  PrintRatio("pool.itl_p99_vs_llama_server", ours, theirs, "ms");
  PrintMedian("pool.itl_p99_vs_llama_server.before_p50.ours", our_before, "ms", 1);
  PrintMedian("pool.itl_p99_vs_llama_server.before_p50.theirs", their_before, "ms", 1);
  PrintMedian("pool.itl_p99_vs_llama_server.long_prompt_ttft.ours", our_first, "s", 1);
  PrintMedian("pool.itl_p99_vs_llama_server.long_prompt_ttft.theirs", their_first, "s", 1);
}

double TimeToFirst(ChatSide& side, const std::string& system, ChatSeen& seen) {
  const ChatAsk ask{.system = system, .prompt = fmt::format("Question {:05}: what is a river?", NextNumber()), .max_tokens = 4};
  const auto asked = Clock::now();
  Clock::time_point first{};
  seen = side.Chat(ask, [&](Clock::time_point at) {
    if (first == Clock::time_point{}) first = at;
    return true;
  });
  if (!seen.whole || first == Clock::time_point{}) Fail("a question got no answer");
  std::this_thread::sleep_for(milliseconds(50));  // As people ask: one after the other, not at once.
  return Millis(first - asked);
}

void MeasureTtft(int pairs) {
  const auto tollgate = MakeTollgate(kClients, kContext), llama_server = MakeLlamaServer(kClients, kContext);
  const std::string system = Words(1024, 0).substr(0, 1024);
  ChatSeen here, there;
  for (int i = 0; i < 3; ++i) {
    TimeToFirst(*tollgate, system, here);
    TimeToFirst(*llama_server, system, there);
  }
  Compare("a system prompt of 1 KB", here, there);
  std::vector<double> ours, theirs;
  Interleave(
      pairs, [&] { ours.push_back(TimeToFirst(*tollgate, system, here)); },
      [&] { theirs.push_back(TimeToFirst(*llama_server, system, there)); });
  PrintRatio("pool.ttft_1kb_vs_llama_server", ours, theirs, "ms");
}

int Main(const std::set<std::string>& parts) {
  const auto wanted = [&](const char* part) { return parts.empty() || parts.contains(part); };
  const int pairs = static_cast<int>(FromEnvironment("TOLLGATE_BENCH_PAIRS", 4));
  if (wanted("clients")) MeasureClients(pairs, static_cast<int>(FromEnvironment("TOLLGATE_BENCH_TOKENS", 64)));
  if (wanted("ttft")) MeasureTtft(10);
  if (wanted("itl")) MeasureItl(static_cast<int>(FromEnvironment("TOLLGATE_BENCH_LONG_PAIRS", 4)));
  return 0;
}

}  // namespace
}  // namespace tollgate::bench

int main(int argc, char** argv) { return tollgate::bench::Main({argv + 1, argv + argc}); }
