// The program starts itself again with --bare FOLDER; the answers lie in the folder.
#include "tests/bench/bare_servers.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>

#include <fmt/format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/server_builder.h>

#include "tests/bench/bare_http.h"
#include "tests/bench/figures.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/http_client.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::bench {
namespace {

constexpr char kFlag[] = "--bare";

void Write(const std::string& path, const std::vector<std::string>& parts) {
  std::ofstream out(path, std::ios::binary);
  for (const std::string& part : parts) out << part.size() << '\n' << part;
}

std::vector<std::string> Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::string> parts;
  for (std::size_t size = 0; in >> size && in.get() == '\n';) {
    std::string& part = parts.emplace_back(size, '\0');
    in.read(part.data(), static_cast<std::streamsize>(size));
  }
  return parts;
}

class Echo : public v1::Inference::CallbackService {
 public:
  Echo(const std::string& reply, const std::vector<std::string>& chunks) {
    reply_.ParseFromString(reply);
    for (const std::string& chunk : chunks) chunks_.emplace_back().ParseFromString(chunk);
  }

  grpc::ServerUnaryReactor* Chat(grpc::CallbackServerContext* context, const v1::ChatRequest*, v1::ChatReply* reply) override {
    *reply = reply_;
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerWriteReactor<v1::ChatChunk>* ChatStream(grpc::CallbackServerContext*, const v1::ChatRequest*) override {
    class Writer : public grpc::ServerWriteReactor<v1::ChatChunk> {
     public:
      explicit Writer(const std::vector<v1::ChatChunk>& chunks) : chunks_(chunks) { OnWriteDone(true); }
      void OnWriteDone(bool ok) override {
        if (!ok || next_ == chunks_.size()) return Finish(grpc::Status::OK);
        StartWrite(&chunks_[next_++]);
      }
      void OnDone() override { delete this; }

     private:
      const std::vector<v1::ChatChunk>& chunks_;
      std::size_t next_ = 0;
    };
    return new Writer(chunks_);
  }

 private:
  v1::ChatReply reply_;
  std::vector<v1::ChatChunk> chunks_;
};

void CaptureGrpc(int port, const std::string& key, const std::string& prompt, Answers& answers) {
  const auto stub = v1::Inference::NewStub(e2e::ChannelTo(port));
  v1::ChatRequest request;
  request.set_model("scripted");
  v1::ChatMessage& message = *request.add_messages();
  message.set_role(v1::ROLE_USER);
  message.add_parts(prompt);
  v1::ChatReply reply;
  grpc::ClientContext unary, stream;
  for (auto* context : {&unary, &stream}) context->AddMetadata("authorization", "Bearer " + key);
  const auto status = stub->Chat(&unary, request, &reply);
  if (!status.ok()) Fail("Chat: " + status.error_message());
  answers.grpc_reply = reply.SerializeAsString();
  const auto reader = stub->ChatStream(&stream, request);
  for (v1::ChatChunk chunk; reader->Read(&chunk);) answers.grpc_chunks.push_back(chunk.SerializeAsString());
  if (const auto end = reader->Finish(); !end.ok()) Fail("ChatStream: " + end.error_message());
}

void CaptureHttp(int port, const std::string& key, const std::string& prompt, Answers& answers) {
  e2e::HttpAsk ask;
  ask.key = key;
  ask.prompt = prompt;
  e2e::HttpConnection plain(port), stream(port);
  plain.Send(e2e::PostChat(ask));
  const e2e::HttpReply reply = plain.Read();
  if (reply.status != 200) Fail("POST /v1/chat/completions: " + reply.body);
  answers.http_body = reply.body;
  answers.http_head = plain.wire().substr(0, plain.wire().find("\r\n\r\n") + 4);
  ask.stream = true;
  stream.Send(e2e::PostChat(ask));
  stream.ReadHead();
  answers.sse_head = stream.wire().substr(0, stream.wire().find("\r\n\r\n") + 4);
  for (std::string data; stream.ReadChunk(data);) answers.sse_chunks.push_back(data);
}

}  // namespace

Answers Capture(int grpc_port, int http_port, const std::string& key, const std::string& prompt) {
  Answers answers;
  CaptureGrpc(grpc_port, key, prompt, answers);
  CaptureHttp(http_port, key, prompt, answers);
  return answers;
}

BareServers::BareServers(const Answers& answers) {
  Write(dir_.File("grpc_reply"), {answers.grpc_reply});
  Write(dir_.File("grpc_chunks"), answers.grpc_chunks);
  Write(dir_.File("http"), {answers.http_head, answers.http_body});
  std::vector<std::string> sse = answers.sse_chunks;
  sse.insert(sse.begin(), answers.sse_head);
  Write(dir_.File("sse"), sse);
  process_ = std::make_unique<e2e::Process>(std::vector<std::string>{"/proc/self/exe", kFlag, dir_.path()});
  const bool said = process_->WaitForOut("ready.", e2e::milliseconds(20'000));
  static const std::regex line(R"(grpc (\d+), http (\d+), ready\.)");
  std::smatch match;
  const std::string text = process_->Out();
  if (!said || !std::regex_search(text, match, line)) Fail("the bare servers did not start: " + process_->Err());
  grpc_ = std::stoi(match[1]);
  http_ = std::stoi(match[2]);
}

void ServeBareIfAsked(int argc, char** argv) {
  if (argc != 3 || std::strcmp(argv[1], kFlag) != 0) return;
  const std::string folder = argv[2];
  Echo echo(Read(folder + "/grpc_reply").at(0), Read(folder + "/grpc_chunks"));
  grpc::ServerBuilder builder;
  int grpc_port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &grpc_port);
  builder.RegisterService(&echo);
  const auto server = builder.BuildAndStart();
  const auto plain = Read(folder + "/http");
  auto sse = Read(folder + "/sse");
  const std::string sse_head = sse.at(0);
  sse.erase(sse.begin());
  ServeBareHttp({plain.at(0).size(), plain.at(1), sse_head.size(), sse}, [&](int http_port) {
    fmt::print("grpc {}, http {}, ready.\n", grpc_port, http_port);
    std::fflush(stdout);
  });
  std::exit(0);
}

}  // namespace tollgate::bench
