// chat: one prompt, or a conversation when standard input is a terminal. The text goes to standard output as it comes; what is said about
// it (-v) and why it ended early go to standard error.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <istream>
#include <iterator>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/encoding.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/inference.grpc.pb.h"

namespace tollgate::cli {
namespace {
struct ChatOptions {
  std::vector<std::string> words;
  std::string model;
  std::string system;
  std::string end_user;
  int max_tokens = 0;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;
  bool strict = false;
  bool verbose = false;
  bool count = false;
  bool whole = false;
};

// What the rule that acted first says to whoever reads the reply.
std::string Because(const v1::PolicyOutcome& outcome) { return outcome.rules().empty() ? "" : ": " + outcome.rules(0).because(); }

std::string Trailer(const grpc::ClientContext& call, const char* name) {
  const auto& trailers = call.GetServerTrailingMetadata();
  const auto found = trailers.find(name);
  return found == trailers.end() ? "" : std::string(found->second.data(), found->second.size());
}

// What cut the reply short; empty if it came to its own end.
std::string CutBy(const v1::ChatEnd& end, int max_tokens) {
  if (!end.quota_reached().empty()) return "a quota ended the reply: " + end.quota_reached();
  if (end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER)
    return "policy ended the reply: " + PolicyWords(end.output_policy()) + Because(end.output_policy());
  if (end.finish_reason() != v1::FINISH_REASON_LENGTH) return "";
  if (max_tokens > 0 && end.usage().output() >= max_tokens) return fmt::format("the reply was cut at --max-tokens {}", max_tokens);
  return "the reply was cut: prompt and reply fill the model's context, or the defaults of its scope allow no more";
}

// A reply that policy or a quota cut is not "done".
int ExitCodeOfEnd(const v1::ChatEnd& end) {
  return end.finish_reason() == v1::FINISH_REASON_CONTENT_FILTER || !end.quota_reached().empty() ? kRefused : kDone;
}

// Says how the reply ended.
int Ended(Context& context, const ChatOptions& options, const v1::ChatEnd& end, const std::string& id) {
  if (const std::string cut = CutBy(end, options.max_tokens); !cut.empty()) context.err() << "[" << cut << "]\n";
  if (options.verbose) {
    context.err() << fmt::format(
        "request {}\ntokens  {} in, {} out, {} delivered\ninput   {}\noutput  {}\nrecord  {}/{} (tollgate audit show {})\n", id,
        end.usage().input(), end.usage().output(), end.usage().delivered(), PolicyWords(end.input_policy()),
        PolicyWords(end.output_policy()), end.record().log_id(), end.record().index(), id);
  }
  return ExitCodeOfEnd(end);
}

// `begun`: some of the answer had come, which is on record and billed, so that it cannot be that nothing was done.
int Failed(Context& context, const ChatOptions& options, const grpc::Status& status, const grpc::ClientContext& call, bool begun) {
  Tell(context, status, Effect::kChanges);
  if (begun && context.exit_code == kUnavailable) context.exit_code = kInDoubt;
  const std::string record = Trailer(call, "x-tollgate-record");
  if (options.verbose && !record.empty()) context.err() << fmt::format("record  {} (tollgate audit show {})\n", record, record);
  return context.exit_code;
}

// Asks once and prints the reply; adds it to the conversation. Returns the exit code.
int Turn(Context& context, const ChatOptions& options, const Line& line, v1::ChatRequest& request) {
  if (!base::IsValidUtf8(request.messages(request.messages_size() - 1).parts(0))) {
    context.err() << "tollgate: the prompt is not UTF-8 text\n";
    return kUsage;
  }
  const auto stub = v1::Inference::NewStub(line.channel);
  grpc::ClientContext call;
  Prepare(call, line.key, std::max(context.globals.timeout_s, 300));
  std::string text;
  v1::ChatEnd end;
  std::string id;
  grpc::Status status;
  if (options.whole || context.globals.json) {
    v1::ChatReply reply;
    status = stub->Chat(&call, request, &reply);
    if (!status.ok()) return Failed(context, options, status, call, false);
    if (context.globals.json) return context.PrintJson(reply), ExitCodeOfEnd(reply.end());
    context.Print(reply.text());
    text = reply.text(), end = reply.end(), id = reply.id();
  } else {
    const auto reader = stub->ChatStream(&call, request);
    for (v1::ChatChunk chunk; reader->Read(&chunk);) {
      text += chunk.text();
      context.out() << chunk.text() << std::flush;
      id = chunk.id();
      if (chunk.has_end()) end = chunk.end();
    }
    status = reader->Finish();
  }
  if (!text.empty() && !text.ends_with('\n')) context.Print("\n");
  if (!status.ok()) return Failed(context, options, status, call, !id.empty());
  v1::ChatMessage& answer = *request.add_messages();
  answer.set_role(v1::ROLE_ASSISTANT);
  answer.add_parts(text);
  return Ended(context, options, end, id);
}

// The first model that the key may use, and that chats.
std::optional<std::string> AnyModel(Context& context) {
  const auto reply = Look<v1::Models>(context, Listener::kApi, &v1::Models::Stub::List, v1::ListModelsRequest());
  if (!reply) return std::nullopt;
  for (const v1::Model& model : reply->models()) {
    if (model.serves() != "embeddings" && model.serves() != "rerank") return model.name();
  }
  context.Fail(kRefused, "the key may use no model; ask for one: tollgate models grant MODEL --team TEAM");
  return std::nullopt;
}

std::optional<v1::ChatRequest> MakeRequest(Context& context, const ChatOptions& options) {
  v1::ChatRequest request;
  if (options.model.empty()) {
    const auto model = AnyModel(context);
    if (!model) return std::nullopt;
    request.set_model(*model);
  } else {
    request.set_model(options.model);
  }
  request.set_max_tokens(options.max_tokens);
  request.set_end_user(options.end_user);
  if (options.temperature) request.mutable_sampling()->set_temperature(*options.temperature);
  if (options.top_p) request.mutable_sampling()->set_top_p(*options.top_p);
  if (options.seed) request.mutable_sampling()->set_seed(*options.seed);
  for (const std::string& stop : options.stop) request.add_stop(stop);
  if (options.strict) request.set_replay(v1::REPLAY_STRICT);
  if (!options.system.empty()) {
    v1::ChatMessage& message = *request.add_messages();
    message.set_role(v1::ROLE_SYSTEM);
    message.add_parts(options.system);
  }
  return request;
}

void AddUser(v1::ChatRequest& request, const std::string& text) {
  v1::ChatMessage& message = *request.add_messages();
  message.set_role(v1::ROLE_USER);
  message.add_parts(text);
}

void Converse(Context& context, const ChatOptions& options, const Line& line, v1::ChatRequest request) {
  context.err() << fmt::format("talking to {}; an empty line or Ctrl-D ends it\n", request.model());
  std::string text;
  while (context.err() << "> " << std::flush, std::getline(context.streams.in, text) && !text.empty()) {
    const int messages = request.messages_size();
    AddUser(request, text);
    context.exit_code = Turn(context, options, line, request);
    // A refused turn is not part of the conversation, or it would be refused again with each that follows.
    if (context.exit_code != kDone) request.mutable_messages()->DeleteSubrange(messages, request.messages_size() - messages);
  }
}

void Count(Context& context, const Line& line, const v1::ChatRequest& chat) {
  v1::CountTokensRequest request;
  request.set_model(chat.model());
  *request.mutable_messages() = chat.messages();
  request.set_end_user(chat.end_user());
  v1::CountTokensReply reply;
  const grpc::Status status = Call<v1::Tokens>(context, line, &v1::Tokens::Stub::Count, request, reply);
  if (!status.ok()) return Tell(context, status, Effect::kReads);
  if (context.globals.json) return context.PrintJson(reply);
  context.Print(fmt::format("{} of {} tokens\n", ShowCount(reply.tokens()), ShowCount(reply.context_tokens())));
}

void Chat(Context& context, const ChatOptions& options) {
  auto request = MakeRequest(context, options);
  if (!request) return;
  const auto line = Open(context, Listener::kApi);
  if (!line) return;
  std::string prompt = fmt::format("{}", fmt::join(options.words, " "));
  if (prompt.empty() && context.streams.interactive) return Converse(context, options, *line, *std::move(request));
  if (prompt.empty() || prompt == "-") prompt.assign(std::istreambuf_iterator<char>(context.streams.in), std::istreambuf_iterator<char>());
  if (prompt.empty()) return context.Fail(kUsage, "nothing to ask: give a prompt, or text on standard input");
  AddUser(*request, prompt);
  if (options.count) return Count(context, *line, *request);
  context.exit_code = Turn(context, options, *line, *request);
}
}  // namespace

void AddChatCommand(CLI::App& app, Context& context) {
  auto* chat = app.add_subcommand("chat", "Ask a model, and watch the answer come");
  const auto o = std::make_shared<ChatOptions>();
  chat->add_option("PROMPT", o->words, "What to ask; - or nothing: standard input, or a conversation at a terminal");
  chat->add_option("-m,--model", o->model, "The model; else the first that the key may use");
  chat->add_option("-s,--system", o->system, "Instructions that stand before the conversation");
  chat->add_option("--max-tokens", o->max_tokens, "At most this many tokens of output; else what context and quotas allow")
      ->check(CLI::NonNegativeNumber);
  chat->add_option("--temperature", o->temperature, "0 = always the likeliest token; else 1")->check(CLI::Range(0.0, 2.0));
  chat->add_option("--top-p", o->top_p, "Only the likeliest tokens that make up this share")->check(CLI::Range(0.0, 1.0));
  chat->add_option("--seed", o->seed, "Makes the answer repeatable")->check(CLI::NonNegativeNumber);
  chat->add_flag("--strict", o->strict, "An answer that an auditor can make again; the key needs the role evidence");
  chat->add_option("--stop", o->stop, "Ends the output; may be given up to four times")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  chat->add_option("--end-user", o->end_user, "The person behind the application; only an HMAC of it is kept");
  chat->add_flag("--count", o->count, "Only count the prompt's tokens, as they would be billed");
  chat->add_flag("--whole", o->whole, "Wait for the whole answer in place of a stream");
  chat->add_flag("-v,--verbose", o->verbose, "Also tokens, what policy did, and the record");
  chat->callback([&context, o] { Chat(context, *o); });
  Teach(*chat, "Exit code 1 if policy or a quota refused or cut the answer, 3 if it may be asked again: a minute's limit, a busy model.",
        {"tollgate chat \"Why is the sky blue?\" -v", "tollgate chat --max-tokens 50 --temperature 0 \"Count to ten.\"",
         "git diff | tollgate chat -s \"Review this change.\" -", "tollgate chat"});
}

}  // namespace tollgate::cli
