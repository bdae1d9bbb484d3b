// audit replay. The verdict is the first line and the exit code; what differs between then and here stands below it, side by side. Nothing
// of the answer itself is shown.
//
// Tested by tests/gateway/cli/answer_replay_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/context.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/audit.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Audit;

struct AnswerReplayOptions {
  std::string request, reason;
};

std::string Setup(const v1::StrictRun& run) {
  return fmt::format("{} threads, chunks of {}, context of {} in {}", run.threads(), ShowCount(run.chunk_tokens()),
                     ShowCount(run.context_tokens()), run.kv());
}

std::string Line(const char* what, const std::string& then, const std::string& here, bool both) {
  if (!both || then == here) return fmt::format("{:<10}{}\n", what, then);
  return fmt::format("{:<10}{}\n{:<10}{}  (here)\n", what, then, "", here);
}

std::string Setups(const v1::ReplayReply& reply) {
  if (!reply.has_recorded()) return "";
  const v1::StrictRun &then = reply.recorded(), &here = reply.here();
  const bool both = reply.has_here();
  return Line("build", then.build() + ", " + then.engine_build(), here.build() + ", " + here.engine_build(), both) +
         Line("processor", then.processor(), here.processor(), both) + Line("setup", Setup(then), Setup(here), both);
}

void Replay(Context& context, const AnswerReplayOptions& options) {
  v1::ReplayRequest request;
  request.set_request_id(options.request.starts_with("chatcmpl-") ? options.request.substr(9) : options.request);
  request.set_reason(options.reason);
  const auto reply = Look<Audit>(context, Listener::kAdmin, &Audit::Stub::Replay, request);
  if (!reply) return;
  const bool impossible = reply->outcome().verdict() == "impossible";
  if (reply->outcome().verdict() != "same") context.exit_code = impossible ? kRefused : kFoundWrong;
  if (context.globals.json) return context.PrintJson(*reply);
  std::string text = fmt::format("{}{}\n", impossible ? "cannot be replayed: " : "", reply->message());
  if (!reply->model().empty()) text += fmt::format("{:<10}{}\n", "model", reply->model());
  text += Setups(*reply);
  if (reply->has_record()) {
    text += fmt::format("{:<10}{} in, {} out, on nobody's bill\n{:<10}{}\n", "tokens", ShowCount(reply->outcome().tokens().input()),
                        ShowCount(reply->outcome().tokens().output()), "record",
                        fmt::format("{}/{}", reply->record().log_id(), reply->record().index()));
  }
  context.Print(text);
}

}  // namespace

void AddAnswerReplayCommand(CLI::App& audit, Context& context) {
  auto* replay = audit.add_subcommand("replay", "Make a strict answer again and compare it; records of that are made");
  const auto options = std::make_shared<AnswerReplayOptions>();
  replay->add_option("REQUEST", options->request, "Id of a request (chatcmpl-… too) that was asked with replay: strict")->required();
  replay->add_option("--reason", options->reason, "Why its content is read")->required();
  replay->callback([&context, options] { Replay(context, *options); });
  Teach(*replay,
        "Prints whether it is the same, from which token it differs (exit code 5), or why it cannot be made again (exit code 1).\n"
        "Runs on the instance that is asked, in the lowest band: for a long answer raise --timeout.",
        {"tollgate audit replay 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e --reason \"case 12\"",
         "tollgate audit replay 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e --reason \"case 12\" --json --timeout 600"});
}

}  // namespace tollgate::cli
