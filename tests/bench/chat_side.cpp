#include "tests/bench/chat_side.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <thread>

#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include "tests/bench/figures.h"
#include "tests/bench/real_pool.h"
#include "tests/bench/world.h"
#include "tests/e2e/support/http_client.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::bench {
namespace {

using std::chrono::milliseconds;

constexpr char kProgram[] = TOLLGATE_SOURCE_DIR "/build/llama-server/bin/llama-server";
constexpr int kEnds[] = {0, 2};  // SmolLM2's <|endoftext|> and <|im_end|>.

class Tollgate : public ChatSide {
 public:
  Tollgate(int chats, int context_tokens)
      : world_(Instance(chats, context_tokens)), stub_(v1::Inference::NewStub(e2e::ChannelTo(world_.gateway().grpc_port()))) {}

  ChatSeen Chat(const ChatAsk& ask, const OnText& on_text) override {
    const v1::ChatRequest request = Request(ask);
    grpc::ClientContext context;
    context.AddMetadata("authorization", "Bearer " + world_.key());
    context.set_deadline(std::chrono::system_clock::now() + ask.patience);
    const auto stream = stub_->ChatStream(&context, request);
    ChatSeen seen;
    bool gone = false;
    for (v1::ChatChunk chunk; stream->Read(&chunk);) {
      const auto now = Clock::now();
      if (!gone && !chunk.text().empty() && !on_text(now)) {
        gone = true;
        context.TryCancel();
      }
      if (chunk.has_end()) {
        const v1::TokenCounts& usage = chunk.end().usage();
        seen = {true, usage.input(), usage.cached_input(), usage.output()};
      }
    }
    const grpc::Status status = stream->Finish();
    if (!status.ok() && !gone && status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) Fail("Tollgate: " + status.error_message());
    return seen;
  }

 private:
  static e2e::InstanceOptions Instance(int chats, int context_tokens) {
    e2e::InstanceOptions options = ScriptedInstance();
    options.model_name = "smollm2";
    options.model_file = ModelFile();
    options.slots = chats + 1;
    options.context_tokens = context_tokens;
    return options;
  }

  static v1::ChatRequest Request(const ChatAsk& ask) {
    v1::ChatRequest request;
    request.set_model("smollm2");
    request.set_max_tokens(ask.max_tokens);
    v1::ChatMessage& system = *request.add_messages();
    system.set_role(v1::ROLE_SYSTEM);
    system.add_parts(ask.system);
    v1::ChatMessage& user = *request.add_messages();
    user.set_role(v1::ROLE_USER);
    user.add_parts(ask.prompt);
    request.mutable_sampling()->set_temperature(1);
    request.mutable_sampling()->set_top_p(1);
    request.mutable_sampling()->set_top_k(0);
    request.mutable_sampling()->set_min_p(0);
    for (const int token : kEnds) {
      v1::LogitBias& bias = *request.add_logit_bias();
      bias.set_token(token);
      bias.set_bias(-100);
    }
    return request;
  }

  World world_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

class LlamaServer : public ChatSide {
 public:
  LlamaServer(int chats, int context_tokens) {
    if (!std::filesystem::exists(kProgram)) Fail("there is no llama-server to measure against: scripts/setup-llama-server builds it");
    // As the pool's default: one core is left alone.
    const std::string threads = std::to_string(std::max(1, static_cast<int>(std::thread::hardware_concurrency()) - 1));
    process_ = std::make_unique<e2e::Process>(std::vector<std::string>{
        kProgram, "--model", ModelFile(), "--parallel", std::to_string(chats), "--ctx-size", std::to_string(chats * context_tokens),
        "--threads", threads, "--threads-batch", threads, "--host", "127.0.0.1", "--port", "0"});
    static const std::regex line(R"(listening on http://127\.0\.0\.1:(\d+))");
    std::smatch match;
    const bool said = process_->WaitForErr("listening on http://", milliseconds(60'000));
    const std::string text = process_->Err();
    if (!said || !std::regex_search(text, match, line)) Fail("llama-server did not come up:\n" + text);
    port_ = std::stoi(match[1]);
    if (!e2e::Eventually([this] { return e2e::Get(port_, "/health").status == 200; }, milliseconds(60'000)))
      Fail("llama-server is not ready:\n" + process_->Err());
  }

  ChatSeen Chat(const ChatAsk& ask, const OnText& on_text) override {
    e2e::HttpConnection connection(port_, ask.patience);
    if (!connection.Send(e2e::PostChat(Request(ask)))) Fail("llama-server takes no request");
    const e2e::HttpReply head = connection.ReadHead();
    if (head.status != 200) Fail(fmt::format("llama-server answers {}:\n{}", head.status, process_->Err()));
    ChatSeen seen;
    std::string pending;
    for (std::string data; connection.ReadChunk(data);) {
      const auto now = Clock::now();
      pending += data;
      for (const std::string& event : e2e::Events(pending)) {
        if (!e2e::JsonAt(event, "choices.0.delta.content").empty() && !on_text(now)) return {};
        if (e2e::JsonAt(event, "usage").empty()) continue;
        seen = {true, Number(event, "usage.prompt_tokens"), Number(event, "usage.prompt_tokens_details.cached_tokens"),
                Number(event, "usage.completion_tokens")};
      }
      const auto end = pending.rfind("\n\n");
      if (end != std::string::npos) pending.erase(0, end + 2);
    }
    return seen;
  }

 private:
  static e2e::HttpAsk Request(const ChatAsk& ask) {
    e2e::HttpAsk out;
    out.model = "smollm2";
    out.system = ask.system;
    out.prompt = ask.prompt;
    out.stream = true;
    out.max_tokens = ask.max_tokens;
    out.more_fields = R"(,"temperature":1,"top_p":1,"top_k":0,"min_p":0,"logit_bias":[)";
    for (const int token : kEnds) out.more_fields += fmt::format("{}[{},-100]", token == kEnds[0] ? "" : ",", token);
    out.more_fields += "]";
    return out;
  }

  static std::int64_t Number(const std::string& event, std::string_view path) { return std::atoll(e2e::JsonAt(event, path).c_str()); }

  std::unique_ptr<e2e::Process> process_;
  int port_ = 0;
};

}  // namespace

std::unique_ptr<ChatSide> MakeTollgate(int chats, int context_tokens) { return std::make_unique<Tollgate>(chats, context_tokens); }
std::unique_ptr<ChatSide> MakeLlamaServer(int chats, int context_tokens) { return std::make_unique<LlamaServer>(chats, context_tokens); }

}  // namespace tollgate::bench
