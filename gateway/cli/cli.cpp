// CLI11 parses; each command's callback runs at once after its parse and leaves its exit code in the context. Options of the whole program
// are accepted behind any command ("fallthrough"), so that `tollgate key list --json` works as written.
//
// Tested by tests/gateway/cli/cli_test.cpp.
#include "gateway/cli/cli.h"

#include <algorithm>
#include <iostream>

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>
#include <CLI/CLI.hpp>

#include "base/encoding.h"
#include "base/nearest_word.h"
#include "gateway/cli/context.h"
#include "gateway/cli/terminal.h"

namespace tollgate::cli {
namespace {
constexpr const char* kAbout =
    "Tollgate: a governance gateway for self-hosted language models.\n"
    "It answers chat requests over gRPC and OpenAI's HTTP API under identity, policy, audit and quotas.";

// CLI11's help without what it says about how it checks: ranges by type, and the names of options that exclude each other in the order of
// their addresses.
class Help : public CLI::Formatter {
 public:
  Help() { column_width(34); }

  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    const std::string type = option->get_type_name();
    const std::size_t words = type.find('{');
    std::string out = " " + (words == std::string::npos ? type.substr(0, type.find(':')) : type.substr(words));
    if (!option->get_default_str().empty()) out += " = " + option->get_default_str();
    if (option->get_required()) out += " (required)";
    return out;
  }
};

struct ExitCode {
  int code;
  const char* means;
  const char* what;
};
constexpr ExitCode kExitCodes[] = {
    {kDone, "done", ""},
    {kRefused, "refused: the same line will be refused again",
     "by a role, a policy, a spent quota; what is not there, or is there already; an answer that policy or a quota cut; "
     "`config check`, `policy lint` and `policy explain` that find something"},
    {kUsage, "the command line makes no sense", "also: no key, no address, no such file"},
    {kUnavailable, "not now, and nothing was done: send it again",
     "nothing answers at the address; the gateway is busy, or its database is away; a minute's limit is used up; `models load` "
     "that goes on loading; of what only reads, whatever is 4 else"},
    {kInDoubt, "not known whether it was done: look before it is sent again",
     "of changes and answers: the time was up, the connection broke, or their record is in doubt"},
    {kFoundWrong, "found wrong",
     "`audit verify`, `usage reconcile` or `audit replay`, or a stored row that does not verify: what is there is not what was recorded"}};

void AddGlobals(CLI::App& app, Globals& globals) {
  app.add_option("--admin", globals.admin,
                 "HOST:PORT of the admin listener; else TOLLGATE_ADMIN, the running `tollgate dev`, 127.0.0.1:8083")
      ->group("Common options");
  app.add_option("--api", globals.api, "HOST:PORT of the gRPC API; else TOLLGATE_API, the running `tollgate dev`, 127.0.0.1:8081")
      ->group("Common options");
  app.add_option("--key", globals.key, "API key; else TOLLGATE_KEY, or a key of the running `tollgate dev`")->group("Common options");
  auto* tls = app.add_flag("--tls", globals.tls, "Connect by TLS, to the proxy in front of the instance; else TOLLGATE_TLS=true")
                  ->envname("TOLLGATE_TLS")
                  ->group("Common options");
  app.add_option("--ca", globals.ca_file, "File with the authorities (PEM) that --tls goes by; else TOLLGATE_CA, or the system's")
      ->envname("TOLLGATE_CA")
      ->group("Common options");
  app.add_flag("--plaintext", globals.plaintext,
               "Send the key without TLS to another machine, where everybody on the way can read it; else TOLLGATE_PLAINTEXT=true")
      ->envname("TOLLGATE_PLAINTEXT")
      ->excludes(tls)
      ->group("Common options");
  app.add_option("--org", globals.org, "Org that is meant; else the key's own")->group("Common options");
  app.add_option("--folder", globals.folder, "Folder of `tollgate dev`")->capture_default_str()->group("Common options");
  app.add_option("--timeout", globals.timeout_s, "Seconds to wait for an answer")
      ->capture_default_str()
      ->check(CLI::Range(1, 86400))
      ->group("Common options");
  app.add_flag("--json", globals.json, "Print the reply as JSON, for scripts")->group("Common options");
}

std::unique_ptr<CLI::App> MakeApp(Context& context) {
  auto app = std::make_unique<CLI::App>(kAbout, "tollgate");
  app->set_help_flag("-h,--help", "Say what this does, with examples");
  app->set_version_flag("--version", "tollgate " + context.programs.version, "Say which version this is");
  app->formatter(std::make_shared<Help>());
  app->require_subcommand(1);
  app->fallthrough();
  AddGlobals(*app, context.globals);
  AddLocalCommands(*app, context);
  AddConfigCommands(*app, context);
  AddTenantCommands(*app, context);
  AddKeyCommands(*app, context);
  AddQuotaCommands(*app, context);
  AddDefaultsCommands(*app, context);
  AddPriceCommands(*app, context);
  AddStopCommands(*app, context);
  AddPolicyCommands(*app, context);
  AddAuditCommands(*app, context);
  AddUsageCommands(*app, context);
  AddModelCommands(*app, context);
  AddChatCommand(*app, context);
  AddEmbedCommand(*app, context);
  std::string codes = "Each command says more: tollgate COMMAND --help.\n\nExit codes:\n";
  for (const auto& [code, means, what] : kExitCodes) codes += fmt::format("  {}  {}\n", code, means);
  codes.pop_back();
  Teach(*app, codes,
        {"tollgate dev                              # a whole sample company with a real model, on this machine",
         "tollgate demo                             # the whole story against it, step by step", "tollgate chat \"Why is the sky blue?\"",
         "tollgate audit list --since 1h            # what was asked and answered, on record",
         "tollgate usage report --by team           # what it costs"});
  return app;
}

// The command that was being parsed when the line turned out wrong: the deepest one that was named.
const CLI::App* Deepest(const CLI::App* app) {
  for (auto below = app->get_subcommands(); !below.empty(); below = app->get_subcommands()) app = below.back();
  return app;
}

std::string FullName(const CLI::App* app) {
  return app->get_parent() == nullptr ? app->get_name() : FullName(app->get_parent()) + " " + app->get_name();
}

std::string HelpOf(const CLI::App* app) {
  const CLI::App* parent = app->get_parent();
  std::string text = app->help(parent == nullptr ? "" : FullName(parent));
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

std::vector<std::string> CommandsOf(const CLI::App* app) {
  std::vector<std::string> names;
  for (const CLI::App* below : app->get_subcommands([](const CLI::App*) { return true; })) names.push_back(below->get_name());
  return names;
}

// The options that may stand behind a command, its own and those of the whole program, without their dashes.
std::vector<std::string> OptionsOf(const CLI::App* app) {
  std::vector<std::string> names;
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      names.insert(names.end(), option->get_lnames().begin(), option->get_lnames().end());
    }
  }
  return names;
}

std::string DidYouMean(const std::string& word, const std::vector<std::string>& known, const std::string& lead) {
  const std::vector<std::string_view> views(known.begin(), known.end());
  const std::string_view near = base::NearestWord(word, views);
  return near.empty() ? "" : fmt::format("did you mean `{}{}`?", lead, near);
}

// What is wrong with a line, where CLI11 says less than it knows: "a subcommand is required" for a misspelt one.
std::string FaultOf(const CLI::App* root, const CLI::App* at, const CLI::ParseError& error) {
  const std::vector<std::string> commands = CommandsOf(at);
  const std::vector<std::string> left = root->remaining(true);  // What no command and no option took.
  for (const std::string& word : left) {
    if (!word.starts_with('-') || word.find_first_not_of('-') == std::string::npos) continue;
    const std::string hint = DidYouMean(word.substr(word.find_first_not_of('-')), OptionsOf(at), "--");
    return fmt::format("there is no option {}{}", word, hint.empty() ? "" : "; " + hint);
  }
  if (commands.empty()) return left.empty() ? error.what() : fmt::format("\"{}\" is one word too many", left.front());
  const std::string all = fmt::format("there are {}", fmt::join(commands, ", "));
  if (left.empty()) return fmt::format("which command of `{}`? {}", FullName(at), all);
  const std::string hint = DidYouMean(left.front(), commands, FullName(at) + " ");
  return fmt::format("there is no command \"{}\"; {}", left.front(), hint.empty() ? all : hint);
}

// The first example of a command's help: a whole line to start from.
std::string ExampleOf(const CLI::App* app) {
  const std::string& text = app->get_footer();
  std::size_t at = text.find("Example");
  if (at == std::string::npos || (at = text.find("\n  ", at)) == std::string::npos) return "";
  return fmt::format("Example: {}\n", text.substr(at + 3, text.find('\n', at + 3) - at - 3));
}

void ManualOf(const CLI::App* app, std::string& out) {
  std::string help = HelpOf(app);
  while (help.starts_with('\n')) help.erase(0, 1);
  out += fmt::format("\n## `{}`\n\n```text\n{}```\n", FullName(app), help);
  for (const CLI::App* below : app->get_subcommands([](const CLI::App*) { return true; })) ManualOf(below, out);
}
}  // namespace

void Context::PrintJson(const google::protobuf::Message& reply) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(reply, &text, options);
  TG_CHECK(status.ok(), "a reply can be printed as JSON");
  out() << text;
}

void Teach(CLI::App& command, const std::string& more, const std::vector<std::string>& examples) {
  std::string text = more.empty() ? "" : more + "\n\n";
  text += examples.size() == 1 ? "Example:\n" : "Examples:\n";
  for (const std::string& example : examples) text += "  " + example + "\n";
  if (command.get_parent() != nullptr) text += "\nOptions for every command: tollgate --help";
  command.footer(text);
}

int Run(const std::vector<std::string>& args, const Programs& programs, const Streams& streams) {
  Terminal out(streams.out, streams.out_terminal), err(streams.err, streams.err_terminal);
  Context context{programs, {streams.in, out.stream(), err.stream(), streams.interactive}, base::SystemClock()};
  const std::unique_ptr<CLI::App> app = MakeApp(context);
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (base::IsValidUtf8(args[i])) continue;
    context.err() << fmt::format("tollgate: word {} of the command line is not UTF-8 text\n", i + 1);
    return kUsage;
  }
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // As CLI11 wants them.
  try {
    if (args.empty()) return context.out() << HelpOf(app.get()), kUsage;
    app->parse(reversed);
  } catch (const CLI::CallForHelp&) {
    context.out() << HelpOf(Deepest(app.get()));
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    context.out() << version.what() << "\n";
    return kDone;
  } catch (const CLI::ParseError& error) {
    const CLI::App* at = Deepest(app.get());
    const std::string example = CommandsOf(at).empty() ? ExampleOf(at) : "";
    context.err() << fmt::format("tollgate: {}\n{}See: {} --help\n", FaultOf(app.get(), at, error), example, FullName(at));
    return kUsage;
  }
  return context.exit_code;
}

std::string Manual() {
  const Programs none{};
  Context context{none, Streams{std::cin, std::cout, std::cerr}, base::SystemClock()};
  std::string out =
      "# The command line\n\n"
      "Made from the program's own help: each command's `--help` prints the same. What others wrote (a model's answer, a policy, a "
      "reason)\n"
      "is printed on a terminal with `?` for controls and whatever else would act on it; into files and pipes every byte goes as it is.\n\n"
      "| exit code | means | what |\n|---|---|---|\n";
  for (const auto& [code, means, what] : kExitCodes) out += fmt::format("| {} | {} | {} |\n", code, means, what);
  out +=
      "\nThe higher, the worse. Scripts take 3 as \"try again\", and let 4 and 5 wake somebody: [operations.md](operations.md#alerts).\n";
  ManualOf(MakeApp(context).get(), out);
  return out;
}

}  // namespace tollgate::cli
