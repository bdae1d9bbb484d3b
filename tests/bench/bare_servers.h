// The bare sides: a gRPC server and a Beast server that answer every request at once, with as many messages of the same sizes as the
// gateway's own answers have. They run in a process of their own, as the gateway does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/support/process.h"

namespace tollgate::bench {

// What to answer with: bytes as they were captured from the gateway.
struct Answers {
  std::string grpc_reply;                // A serialised ChatReply.
  std::vector<std::string> grpc_chunks;  // Serialised ChatChunks.
  std::string http_head, http_body;      // Of a plain answer.
  std::string sse_head;                  // Of a stream; then the data of its chunks.
  std::vector<std::string> sse_chunks;
};

// Asks a gateway once on each surface.
Answers Capture(int grpc_port, int http_port, const std::string& key, const std::string& prompt);

class BareServers {
 public:
  explicit BareServers(const Answers& answers);
  int grpc_port() const { return grpc_; }
  int http_port() const { return http_; }
  e2e::Process& process() { return *process_; }

 private:
  test::TempDir dir_;
  std::unique_ptr<e2e::Process> process_;
  int grpc_ = 0, http_ = 0;
};

// What a program that uses BareServers must call first: serves, and never returns, if the program was started for that.
void ServeBareIfAsked(int argc, char** argv);

}  // namespace tollgate::bench
