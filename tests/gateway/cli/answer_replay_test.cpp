#include "tests/gateway/cli/fake_services.h"

namespace {

v1::StrictRun Run(const std::string& processor) {
  v1::StrictRun run;
  run.set_build("1.2.3");
  run.set_engine_build("llama 7");
  run.set_processor(processor);
  run.set_threads(3);
  run.set_chunk_tokens(128);
  run.set_context_tokens(2048);
  run.set_kv("f16");
  return run;
}

}  // namespace

TEST_CASE("A replay says on its first line whether the answer is the same, and so does the exit code") {
  Server server;
  v1::ReplayReply& reply = server.audit.replayed;
  reply.mutable_outcome()->set_verdict("same");
  reply.mutable_outcome()->mutable_tokens()->set_input(1200);
  reply.mutable_outcome()->mutable_tokens()->set_output(40);
  reply.set_message("same: all 40 tokens");
  reply.set_model("qwen3");
  *reply.mutable_recorded() = *reply.mutable_here() = Run("CPU zen4");
  reply.mutable_record()->set_log_id(1);
  reply.mutable_record()->set_index(77);
  const Result same = server.Run({"audit", "replay", "chatcmpl-01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "case 12"});
  CHECK(same.code == 0);
  CHECK(same.out ==
        "same: all 40 tokens\n"
        "model     qwen3\n"
        "build     1.2.3, llama 7\n"
        "processor CPU zen4\n"
        "setup     3 threads, chunks of 128, context of 2,048 in f16\n"
        "tokens    1,200 in, 40 out, on nobody's bill\n"
        "record    1/77\n");
  CHECK(server.audit.replay.request_id() == "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e");
  CHECK(server.audit.replay.reason() == "case 12");
  CHECK(server.Run({"audit", "replay", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e"}).code != 0);  // No reason.

  reply.mutable_outcome()->set_verdict("differs");
  reply.set_message("differs at token 8 of 40");
  const Result differs = server.Run({"audit", "replay", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "case 12"});
  CHECK(differs.code == 5);
  CHECK(differs.out.starts_with("differs at token 8 of 40\n"));
}

TEST_CASE("What cannot be made again is said with its reason, and what is different here stands beside it") {
  Server server;
  v1::ReplayReply& reply = server.audit.replayed;
  reply.mutable_outcome()->set_verdict("impossible");
  reply.mutable_outcome()->set_reason("OTHER_PROCESSOR");
  reply.set_message("it was made on another processor");
  *reply.mutable_recorded() = Run("CPU zen4");
  *reply.mutable_here() = Run("CPU zen5");
  const Result told = server.Run({"audit", "replay", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "case 12"});
  CHECK(told.code == 1);
  CHECK(told.out ==
        "cannot be replayed: it was made on another processor\n"
        "build     1.2.3, llama 7\n"
        "processor CPU zen4\n"
        "          CPU zen5  (here)\n"
        "setup     3 threads, chunks of 128, context of 2,048 in f16\n");
  const Result json = server.Run({"audit", "replay", "01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e", "--reason", "case 12", "--json"});
  CHECK(json.code == 1);
  CHECK(json.out.find("\"reason\": \"OTHER_PROCESSOR\"") != std::string::npos);
}
