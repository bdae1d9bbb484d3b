// Ask: one chat request over any of the four surfaces, and what came of it. No assertions: for any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tollgate::e2e {

class Gateway;

enum class Surface { kGrpcUnary, kGrpcStream, kHttpPlain, kHttpStream };
inline constexpr Surface kSurfaces[] = {Surface::kGrpcUnary, Surface::kGrpcStream, Surface::kHttpPlain, Surface::kHttpStream};
const char* Name(Surface surface);
inline bool IsStream(Surface surface) { return surface == Surface::kGrpcStream || surface == Surface::kHttpStream; }
inline bool IsGrpc(Surface surface) { return surface == Surface::kGrpcUnary || surface == Surface::kGrpcStream; }

// Where to ask: an instance, or something that stands between.
struct Ports {
  int grpc = 0;
  int http = 0;
};
Ports PortsOf(const Gateway& gateway);

struct Question {
  std::string key;
  std::string prompt;
  std::string model = "scripted";
  std::string system;
  std::string end_user{};
  std::string justification{};
  std::string accept_terms{};
  std::int64_t max_tokens = 0;
  int top_logprobs = -1;                       // 0 to 20: log-probabilities, with so many alternatives.
  std::chrono::milliseconds patience{60'000};  // gRPC's deadline; HTTP's longest silence.
  bool tools = false;                          // One may be called: find.
  int choices = 1;
  bool strict = false;                                       // As an answer that can be made again.
  std::function<bool(const std::string& so_far)> on_text{};  // Streams: after each piece; false = the client goes away.
};

struct Answer {
  bool done = false;   // A whole answer came: a reply, or a stream with its end.
  int code = -1;       // HTTP status or gRPC code; -1: no answer.
  std::string reason;  // Of an error: "RATE_LIMITED", on HTTP its `code`.
  std::string message;
  std::string text;  // All of it that came.
  std::string thought;
  std::vector<std::string> calls;         // "find({…})", of the first reply.
  std::string other;                      // The text of the second reply, where there are two.
  std::vector<std::string> tokens;        // Of the log-probabilities,
  std::vector<std::string> alternatives;  // and those beside them.
  std::string finish;                     // "stop", "length", "content_filter", "tool_calls".
  std::string request_id;                 // A UUID; empty if none came.
  std::string told;                       // Which rules changed or ended the first reply: "block codename: It is secret.|redact …".
  std::string quota_reached;              // gRPC only.
  std::int64_t input = 0;
  std::int64_t cached = 0;  // Of those.
  std::int64_t output = 0;
  std::map<std::string, std::string> headers;  // HTTP's, or gRPC's trailers.
  std::string header(const std::string& name) const {
    const auto at = headers.find(name);
    return at == headers.end() ? "" : at->second;
  }
  std::string seen;  // Everything the client was shown, as bytes: HTTP's wire; of gRPC, messages, status and trailers.
};

Answer Ask(const Ports& ports, Surface surface, const Question& question);

// The same question asked by some threads until Stop, and all the answers.
class Load {
 public:
  using Next = std::function<std::pair<Surface, Question>(int thread, int number)>;
  Load(const Ports& ports, int threads, Next next);
  ~Load();
  void Stop();  // Waits for what is under way.
  std::vector<Answer> answers() const;
  int answered() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::e2e
