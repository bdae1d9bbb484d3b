#include "tests/e2e/support/ask.h"

#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/e2e/support/admin.h"
#include "tests/e2e/support/http_client.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::e2e {
namespace {

std::string FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP: return "stop";
    case v1::FINISH_REASON_LENGTH: return "length";
    case v1::FINISH_REASON_CONTENT_FILTER: return "content_filter";
    case v1::FINISH_REASON_TOOL_CALLS: return "tool_calls";
    default: return "";
  }
}

std::string WithoutPrefix(std::string id) { return id.starts_with("chatcmpl-") ? id.substr(9) : id; }

v1::ChatRequest RequestOf(const Question& question) {
  v1::ChatRequest request;
  request.set_model(question.model);
  if (!question.system.empty()) {
    auto* system = request.add_messages();
    system->set_role(v1::ROLE_SYSTEM);
    system->add_parts(question.system);
  }
  auto* user = request.add_messages();
  user->set_role(v1::ROLE_USER);
  user->add_parts(question.prompt);
  request.set_end_user(question.end_user);
  request.set_justification(question.justification);
  request.set_accept_terms(question.accept_terms);
  request.set_max_tokens(static_cast<std::int32_t>(question.max_tokens));
  if (question.tools) request.add_tools()->set_name("find");
  if (question.choices > 1) request.set_choices(question.choices);
  if (question.strict) request.set_replay(v1::REPLAY_STRICT);
  if (question.top_logprobs >= 0) {
    request.set_logprobs(true);
    request.set_top_logprobs(question.top_logprobs);
  }
  return request;
}

template <typename Message>
void TakeLogprobs(const Message& message, Answer& answer) {
  for (const v1::TokenLogprob& token : message.logprobs()) {
    answer.tokens.push_back(token.token());
    for (const v1::TokenLogprob& top : token.top()) answer.alternatives.push_back(top.token());
  }
}

template <typename Message>
void TakeChannels(const Message& message, Answer& answer) {
  answer.thought += message.reasoning();
  for (const v1::ToolCall& call : message.tool_calls()) answer.calls.push_back(call.name() + "(" + call.arguments() + ")");
  for (const v1::Choice& choice : message.more()) answer.other += choice.index() == 1 ? choice.text() : "";
}

// `at`: the path of a choice's message or delta. Of a call its name comes first, then its arguments.
void TakeChannels(const std::string& json, const std::string& at, Answer& answer) {
  answer.thought += JsonAt(json, at + ".reasoning_content");
  for (int i = 0; !JsonAt(json, fmt::format("{}.tool_calls.{}.index", at, i)).empty() ||
                  !JsonAt(json, fmt::format("{}.tool_calls.{}.id", at, i)).empty();
       ++i) {
    const std::string call = fmt::format("{}.tool_calls.{}.function.", at, i);
    const std::string name = JsonAt(json, call + "name"), arguments = JsonAt(json, call + "arguments");
    if (!name.empty()) answer.calls.push_back(name + "()");
    if (!answer.calls.empty()) answer.calls.back().insert(answer.calls.back().size() - 1, arguments);
  }
}

// `at`: the path of a choice's "logprobs".
void TakeLogprobs(const std::string& json, const std::string& at, Answer& answer) {
  for (int i = 0; !JsonAt(json, fmt::format("{}.content.{}.logprob", at, i)).empty(); ++i) {
    const std::string token = fmt::format("{}.content.{}", at, i);
    answer.tokens.push_back(JsonAt(json, token + ".token"));
    for (int j = 0; !JsonAt(json, fmt::format("{}.top_logprobs.{}.logprob", token, j)).empty(); ++j) {
      answer.alternatives.push_back(JsonAt(json, fmt::format("{}.top_logprobs.{}.token", token, j)));
    }
  }
}

void Tell(const std::string& action, const std::string& id, const std::string& because, Answer& answer) {
  answer.told += fmt::format("{}{} {}: {}", answer.told.empty() ? "" : "|", action, id, because);
}

// `at`: the path of a choice.
void TakeTold(const std::string& json, const std::string& at, Answer& answer) {
  for (int i = 0;; ++i) {
    const std::string rule = fmt::format("{}.tollgate.output_policy.rules.{}.", at, i);
    const std::string id = JsonAt(json, rule + "id");
    if (id.empty()) return;
    Tell(JsonAt(json, rule + "action"), id, JsonAt(json, rule + "because"), answer);
  }
}

void TakeEnd(const v1::ChatEnd& end, Answer& answer) {
  const v1::PolicyOutcome& outcome = end.choices().empty() ? end.output_policy() : end.choices(0).output_policy();
  for (const v1::ActingRule& rule : outcome.rules()) Tell(rule.action(), rule.id(), rule.because(), answer);
  answer.finish = FinishName(end.finish_reason());
  answer.input = end.usage().input();
  answer.cached = end.usage().cached_input();
  answer.output = end.usage().output();
  answer.quota_reached = end.quota_reached();
}

void TakeStatus(const grpc::Status& status, const grpc::ClientContext& context, Answer& answer) {
  answer.code = status.error_code();
  answer.message = status.error_message();
  answer.seen += status.error_message() + "\n" + status.error_details() + "\n";
  google::rpc::Status rich;
  google::rpc::ErrorInfo info;
  if (rich.ParseFromString(status.error_details())) {
    answer.seen += rich.DebugString();
    for (const auto& detail : rich.details()) {
      if (!detail.UnpackTo(&info)) continue;
      answer.reason = info.reason();
      answer.seen += info.DebugString();
    }
  }
  for (const auto* headers : {&context.GetServerInitialMetadata(), &context.GetServerTrailingMetadata()}) {
    for (const auto& [name, value] : *headers) {
      answer.headers[std::string(name.data(), name.size())] = std::string(value.data(), value.size());
      answer.seen += std::string(name.data(), name.size()) + ": " + std::string(value.data(), value.size()) + "\n";
    }
  }
  if (answer.request_id.empty()) answer.request_id = answer.headers["x-request-id"];
}

Answer AskGrpc(int port, const Question& question, bool stream) {
  Answer answer;
  const auto stub = v1::Inference::NewStub(ChannelTo(port));
  grpc::ClientContext context;
  if (!question.key.empty()) context.AddMetadata("authorization", "Bearer " + question.key);
  context.set_deadline(std::chrono::system_clock::now() + question.patience);
  const v1::ChatRequest request = RequestOf(question);
  if (!stream) {
    v1::ChatReply reply;
    const grpc::Status status = stub->Chat(&context, request, &reply);
    TakeStatus(status, context, answer);
    if (!status.ok()) return answer;
    answer.seen += reply.SerializeAsString();
    answer.done = true;
    answer.text = reply.text();
    TakeChannels(reply, answer);
    TakeLogprobs(reply, answer);
    answer.request_id = WithoutPrefix(reply.id());
    TakeEnd(reply.end(), answer);
    return answer;
  }
  const auto reader = stub->ChatStream(&context, request);
  v1::ChatChunk chunk;
  bool ended = false;
  while (reader->Read(&chunk)) {
    answer.seen += chunk.SerializeAsString();
    (chunk.choice() == 0 ? answer.text : answer.other) += chunk.text();
    TakeChannels(chunk, answer);
    TakeLogprobs(chunk, answer);
    answer.request_id = WithoutPrefix(chunk.id());
    if (chunk.has_end()) {
      ended = true;
      TakeEnd(chunk.end(), answer);
    }
    if (question.on_text && !question.on_text(answer.text)) context.TryCancel();
  }
  const grpc::Status status = reader->Finish();
  TakeStatus(status, context, answer);
  answer.done = ended && status.ok();
  return answer;
}

void TakeHttpError(const std::string& body, Answer& answer) {
  answer.message = JsonAt(body, "error.message");
  answer.reason = JsonAt(body, "error.code");
}

void TakeEvent(const std::string& event, Answer& answer) {
  if (event == "[DONE]") {
    answer.done = true;
    return;
  }
  if (!JsonAt(event, "error.message").empty()) return TakeHttpError(event, answer);
  (JsonAt(event, "choices.0.index") == "1" ? answer.other : answer.text) += JsonAt(event, "choices.0.delta.content");
  TakeChannels(event, "choices.0.delta", answer);
  TakeLogprobs(event, "choices.0.logprobs", answer);
  if (JsonAt(event, "choices.0.index") == "0") TakeTold(event, "choices.0", answer);
  if (const std::string finish = JsonAt(event, "choices.0.finish_reason"); !finish.empty()) answer.finish = finish;
  if (const std::string tokens = JsonAt(event, "usage.prompt_tokens"); !tokens.empty()) {
    answer.input = std::stoll(tokens);
    answer.cached = std::stoll("0" + JsonAt(event, "usage.prompt_tokens_details.cached_tokens"));
    answer.output = std::stoll(JsonAt(event, "usage.completion_tokens"));
  }
}

void ReadStream(HttpConnection& connection, const Question& question, Answer& answer) {
  std::string body;
  std::string data;
  while (connection.ReadChunk(data)) {
    body += data;
    for (std::size_t end = body.find("\n\n"); end != std::string::npos; end = body.find("\n\n")) {
      if (body.starts_with("data: ")) TakeEvent(body.substr(6, end - 6), answer);
      body.erase(0, end + 2);
    }
    if (question.on_text && !question.on_text(answer.text)) return connection.Reset();
  }
  answer.done = answer.done && connection.connected();
}

Answer AskHttp(int port, const Question& question, bool stream) {
  Answer answer;
  HttpConnection connection(port, question.patience);
  const std::string logprobs = question.top_logprobs < 0 ? "" : fmt::format(R"(,"logprobs":true,"top_logprobs":{})", question.top_logprobs);
  const std::string tools = question.tools ? R"(,"tools":[{"type":"function","function":{"name":"find"}}])" : "";
  const std::string choices = question.choices > 1 ? fmt::format(R"(,"n":{})", question.choices) : "";
  const std::string user = question.end_user.empty() ? "" : fmt::format(R"(,"user":"{}")", question.end_user);
  std::string why = question.justification.empty() ? "" : fmt::format("x-tollgate-justification: {}\r\n", question.justification);
  if (!question.accept_terms.empty()) why += fmt::format("x-tollgate-accept-terms: {}\r\n", question.accept_terms);
  const HttpAsk ask{.key = question.key,
                    .model = question.model,
                    .prompt = question.prompt,
                    .stream = stream,
                    .max_tokens = question.max_tokens,
                    .system = question.system,
                    .more_fields = logprobs + tools + choices + user + (question.strict ? R"(,"replay":"strict")" : ""),
                    .more_headers = "Connection: close\r\n" + why};
  if (!connection.connected()) return answer;
  connection.Send(PostChat(ask));
  const bool head_came = connection.ReadUntil("\r\n\r\n");
  if (!head_came) return answer;
  const bool is_stream = connection.wire().find("text/event-stream") != std::string::npos;
  const HttpReply reply = is_stream ? connection.ReadHead() : connection.Read();
  answer.code = reply.status;
  answer.headers = reply.headers;
  if (const auto id = reply.headers.find("x-request-id"); id != reply.headers.end()) answer.request_id = id->second;
  if (is_stream) {
    ReadStream(connection, question, answer);
  } else if (reply.status != 200) {
    TakeHttpError(reply.body, answer);
  } else {
    answer.done = reply.complete;
    answer.text = JsonAt(reply.body, "choices.0.message.content");
    answer.other = JsonAt(reply.body, "choices.1.message.content");
    TakeChannels(reply.body, "choices.0.message", answer);
    TakeLogprobs(reply.body, "choices.0.logprobs", answer);
    TakeTold(reply.body, "choices.0", answer);
    answer.finish = JsonAt(reply.body, "choices.0.finish_reason");
    if (reply.complete) {
      answer.input = std::stoll("0" + JsonAt(reply.body, "usage.prompt_tokens"));
      answer.cached = std::stoll("0" + JsonAt(reply.body, "usage.prompt_tokens_details.cached_tokens"));
      answer.output = std::stoll("0" + JsonAt(reply.body, "usage.completion_tokens"));
    }
  }
  answer.seen = connection.wire();
  return answer;
}

}  // namespace

const char* Name(Surface surface) {
  switch (surface) {
    case Surface::kGrpcUnary: return "gRPC unary";
    case Surface::kGrpcStream: return "gRPC stream";
    case Surface::kHttpPlain: return "HTTP plain";
    default: return "HTTP stream";
  }
}

Ports PortsOf(const Gateway& gateway) { return {gateway.grpc_port(), gateway.http_port()}; }

Answer Ask(const Ports& ports, Surface surface, const Question& question) {
  return IsGrpc(surface) ? AskGrpc(ports.grpc, question, IsStream(surface)) : AskHttp(ports.http, question, IsStream(surface));
}

struct Load::Impl {
  std::atomic<bool> stop{false};
  std::mutex mu;
  std::vector<Answer> answers;
  std::vector<std::jthread> threads;
};

Load::Load(const Ports& ports, int threads, Next next) : impl_(std::make_unique<Impl>()) {
  for (int thread = 0; thread < threads; ++thread) {
    impl_->threads.emplace_back([impl = impl_.get(), ports, thread, next] {
      for (int number = 0; !impl->stop; ++number) {
        const auto [surface, question] = next(thread, number);
        Answer answer = Ask(ports, surface, question);
        const bool refused = answer.code == -1 || answer.code == grpc::StatusCode::UNAVAILABLE;
        {
          std::lock_guard lock(impl->mu);
          impl->answers.push_back(std::move(answer));
        }
        if (refused) std::this_thread::sleep_for(std::chrono::milliseconds(10));  // Nobody is there: do not spin.
      }
    });
  }
}

Load::~Load() { Stop(); }

void Load::Stop() {
  impl_->stop = true;
  impl_->threads.clear();
}

std::vector<Answer> Load::answers() const {
  std::lock_guard lock(impl_->mu);
  return impl_->answers;
}

int Load::answered() const {
  std::lock_guard lock(impl_->mu);
  int count = 0;
  for (const Answer& answer : impl_->answers) count += answer.done ? 1 : 0;
  return count;
}

}  // namespace tollgate::e2e
