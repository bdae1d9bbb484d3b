// audit: list, show, verify; replay stands in answer_replay_command.cpp. What a record says in words is made here from its body; content is
// printed only when it was asked for with a reason, indented, so that hostile text cannot pass for the program's own lines.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/encoding.h"
#include "base/money.h"
#include "gateway/cli/content_words.h"
#include "gateway/cli/record_words.h"
#include "gateway/cli/remote.h"
#include "gateway/cli/scope_options.h"
#include "gateway/cli/words.h"
#include "tollgate/v1/audit.grpc.pb.h"

namespace tollgate::cli {
namespace {
using v1::Audit;

struct AuditOptions {
  ScopeOptions scope;
  std::vector<std::string> kinds;
  std::string request_id;
  std::string since;
  std::string until;
  int limit = 50;
  std::string what;
  bool content = false;
  std::string reason;
  int log = -1;
};

void List(Context& context, const AuditOptions& options) {
  v1::ListRecordsRequest request;
  if (!options.scope.Fill(context, request)) return;
  request.set_request_id(options.request_id);
  for (const std::string& kind : options.kinds) request.add_kinds(*KindOf(kind));
  for (const auto& [text, set] :
       {std::pair(options.since, &v1::ListRecordsRequest::set_from_us), std::pair(options.until, &v1::ListRecordsRequest::set_to_us)}) {
    if (text.empty()) continue;
    const auto at = context.Take(ParseTime(text, context.clock.Wall()));
    if (!at) return;
    (request.*set)(*at);
  }
  if (request.from_us() != 0 && request.to_us() != 0 && request.from_us() >= request.to_us())
    return context.Fail(kUsage, fmt::format("--since {} is not before --until {}", options.since, options.until));
  request.set_page_size(std::min(options.limit, 500));
  auto reply = AskAll<Audit>(
      context, Listener::kAdmin, &Audit::Stub::List, request, [](const auto& r) { return r.records_size(); }, options.limit);
  if (!reply) return;
  if (reply->records_size() > options.limit) reply->mutable_records()->DeleteSubrange(options.limit, reply->records_size() - options.limit);
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"record", "time (UTC)", "kind", "project", "key", "what"});
  for (const auto& stored : reply->records()) {
    table.Add({ShowPosition(stored.position()), ShowTime(stored.record().wall_us()), KindWord(stored.record().kind()), ShowPlace(stored),
               stored.key(), Summary(stored.record())});
  }
  context.Print(table.Text("no records match"));
}

void Show(Context& context, const AuditOptions& options) {
  v1::ShowRecordRequest request;
  if (options.what.find('/') != std::string::npos) {
    const auto position = context.Take(ParsePosition(options.what));
    if (!position) return;
    request.mutable_position()->set_log_id(position->first);
    request.mutable_position()->set_index(position->second);
  } else {
    request.set_request_id(options.what.starts_with("chatcmpl-") ? options.what.substr(9) : options.what);
  }
  if (options.content && options.reason.empty()) return context.Fail(kUsage, "reading content needs --reason: it becomes a record");
  request.set_with_content(options.content);
  request.set_reason(options.reason);
  const auto reply = Look<Audit>(context, Listener::kAdmin, &Audit::Stub::Show, request);
  if (!reply) return;
  if (context.globals.json) return context.PrintJson(*reply);
  for (const auto& stored : reply->records()) {
    context.Print(fmt::format("{}  {} UTC  {}  {}  key {}\n", ShowPosition(stored.position()), ShowTime(stored.record().wall_us()),
                              KindWord(stored.record().kind()), ShowPlace(stored), stored.key().empty() ? "-" : stored.key()));
    context.Print(Details(stored.record()));
    context.Print(ContentText(stored));
    context.Print(fmt::format("    leaf {}\n", base::HexEncode(stored.leaf_hash())));
  }
  if (!options.content) context.Print("content is sealed; to read it, on record: --content --reason WHY\n");
}

void Verify(Context& context, const AuditOptions& options) {
  v1::VerifyLogRequest request;
  if (options.log >= 0) request.set_log_id(options.log);
  const auto reply = Look<Audit>(context, Listener::kAdmin, &Audit::Stub::Verify, request);
  if (!reply) return;
  if (!reply->ok()) context.exit_code = kFoundWrong;
  if (context.globals.json) return context.PrintJson(*reply);
  Table table({"> log", "> records", "root", "finding"});
  for (const auto& log : reply->logs()) {
    const std::string finding = log.problem().empty()       ? "verified"
                                : log.first_bad_index() < 0 ? log.problem()
                                                            : fmt::format("record {}: {}", log.first_bad_index(), log.problem());
    table.Add({std::to_string(log.log_id()), ShowCount(log.size()), base::HexEncode(log.root()).substr(0, 32), finding});
  }
  context.Print(table.Text("there is no log yet"));
  context.Print(reply->ok() ? "every record is as it was written\n"
                            : "the log was changed after it was written: keep the database as it is and call the security officer\n");
}

void AddList(CLI::App& group, Context& context) {
  auto* list = group.add_subcommand("list", "Records, newest first, without content");
  const auto o = std::make_shared<AuditOptions>();
  o->scope.AddTo(*list, "that is concerned");
  list->add_option("--kind", o->kinds, "Only this kind; may be given more than once")
      ->check(CLI::IsMember(KindWords(), CLI::ignore_case))
      ->allow_extra_args(false);
  list->add_option("--request", o->request_id, "Only of this request");
  list->add_option("--since", o->since, "From this time on: 24h, 2026-11-01, 2026-11-01T08:30:00Z");
  list->add_option("--until", o->until, "Until before this time");
  list->add_option("--limit", o->limit, "At most this many")->capture_default_str()->check(CLI::Range(1, 100000));
  list->callback([&context, o] { List(context, *o); });
  Teach(*list, "",
        {"tollgate audit list --since 1h", "tollgate audit list --kind deny --team search",
         "tollgate audit list --since 2026-11-01 --json --limit 10000"});
}
}  // namespace

void AddAuditCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("audit", "The audit log: what was asked, answered, refused and changed")->require_subcommand(1);
  Teach(*group, "", {"tollgate audit list --since 1h", "tollgate audit show 1/42", "tollgate audit verify"});
  AddList(*group, context);
  AddPseudonymCommands(*group, context);
  AddAnswerReplayCommand(*group, context);

  auto* show = group->add_subcommand("show", "One record, or the whole story of a request");
  const auto show_options = std::make_shared<AuditOptions>();
  show->add_option("WHAT", show_options->what, "Id of a request (chatcmpl-… too), or LOG/INDEX of a record")->required();
  show->add_flag("--content", show_options->content, "Open the sealed prompt and output; a record of that is made first");
  show->add_option("--reason", show_options->reason, "Why content is read");
  show->callback([&context, show_options] { Show(context, *show_options); });
  Teach(*show, "",
        {"tollgate audit show 1/42", "tollgate audit show 01937c2e-6a51-7bb0-a3f5-3c1f0a2b4d5e --content --reason \"complaint 77\""});

  auto* verify = group->add_subcommand("verify", "Recompute every leaf and the root from the stored bytes");
  const auto verify_options = std::make_shared<AuditOptions>();
  verify->add_option("--log", verify_options->log, "Only this log")->check(CLI::NonNegativeNumber);
  verify->callback([&context, verify_options] { Verify(context, *verify_options); });
  Teach(*verify, "Exit code 5 if a record was changed, is missing, or lies where none belongs. On a large log raise --timeout.",
        {"tollgate audit verify", "tollgate audit verify --log 1 --timeout 3600"});
}

}  // namespace tollgate::cli
