// What runs in this process: serve, dev, demo, migrate are handed in; config needs no server.
//
// Tested by tests/gateway/cli/cli_test.cpp.
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "gateway/cli/context.h"
#include "gateway/config/config.h"

namespace tollgate::cli {
namespace {
template <typename Options>
void RunProgram(Context& context, const std::function<int(const Options&)>& program, const Options& options) {
  if (program) {
    context.exit_code = program(options);
  } else {
    context.Fail(kUsage, "this program was built without that command");
  }
}

void AddDev(CLI::App& app, Context& context) {
  auto* dev = app.add_subcommand("dev", "A whole sample company with a real model, on this machine alone");
  const auto o = std::make_shared<DevCommand>();
  dev->add_option("--model", o->model_file, "GGUF file to serve; else TOLLGATE_MODEL, or the model that set-up installed");
  dev->add_flag("--scripted", o->scripted, "No model: answers by rote, at once");
  dev->add_option("--http-port", o->http_port, "OpenAI's API; 0 = any free port")->capture_default_str()->check(CLI::Range(0, 65535));
  dev->add_option("--grpc-port", o->grpc_port, "The gRPC API")->capture_default_str()->check(CLI::Range(0, 65535));
  dev->add_option("--admin-port", o->admin_port, "Administration over gRPC")->capture_default_str()->check(CLI::Range(0, 65535));
  dev->add_option("--probes-port", o->probes_port, "Health and metrics")->capture_default_str()->check(CLI::Range(0, 65535));
  dev->add_flag("-v,--verbose", o->verbose, "Print the server's diagnostics too");
  dev->callback([&context, o] {
    o->folder = context.globals.folder;
    RunProgram(context, context.programs.dev, *o);
  });
  Teach(*dev,
        "Starts a private Postgres cluster in the folder, makes the sample company acme the first time, loads the model, and prints keys\n"
        "and lines to paste. Ctrl-C ends it; what was made stays for the next start. Remove the folder to begin anew.",
        {"tollgate dev", "tollgate dev --scripted --folder /tmp/try --http-port 0 --grpc-port 0 --admin-port 0 --probes-port 0"});
}

void AddDemo(CLI::App& app, Context& context) {
  auto* demo = app.add_subcommand("demo", "The whole story, step by step: stream, redaction, block, quota, audit, bill");
  const auto o = std::make_shared<DemoCommand>();
  demo->add_flag("--scripted", o->scripted, "If it has to start `tollgate dev` itself: without a model");
  demo->callback([&context, o] {
    o->folder = context.globals.folder;
    RunProgram(context, context.programs.demo, *o);
  });
  Teach(*demo,
        "Uses the `tollgate dev` that runs, or starts one for the time being. Exit code 0 only if every step did what it says;\n"
        "if one did not, what somebody left in its way is named, with the command that takes it back.",
        {"tollgate demo"});
}
}  // namespace

void AddLocalCommands(CLI::App& app, Context& context) {
  AddDev(app, context);
  AddDemo(app, context);

  auto* serve = app.add_subcommand("serve", "Run an instance as configured");
  const auto serve_options = std::make_shared<ServeCommand>();
  serve->add_option("-c,--config", serve_options->config_path, "The configuration")->capture_default_str();
  serve->callback([&context, serve_options] { RunProgram(context, context.programs.serve, *serve_options); });
  Teach(*serve,
        "Refuses to start, and says what to do, when the configuration, the database, a secret or a model is not as it must be.\nSIGTERM, "
        "SIGINT and SIGHUP stop it (nothing is read anew): for drain_wait_ms it is not ready, but takes requests; then running ones may "
        "finish,\nfor drain_ms at most. A second SIGTERM ends them at once, each with its record.",
        {"tollgate migrate --config /etc/tollgate/tollgate.yaml", "tollgate serve --config /etc/tollgate/tollgate.yaml"});

  auto* migrate = app.add_subcommand("migrate", "Bring the databases up to this version; the first time also make the first owner's key");
  const auto migrate_options = std::make_shared<MigrateCommand>();
  migrate->add_option("-c,--config", migrate_options->config_path, "The configuration that `serve` is given")->capture_default_str();
  auto* owner = migrate->add_option("--owner", migrate_options->owner,
                                    "Whom the first key belongs to; else the user who runs this, and none is made away from a terminal");
  migrate
      ->add_option("--new-owner", migrate_options->new_owner, "Make one more owner's key, for this person: the way back when none is left")
      ->excludes(owner);
  migrate->add_option("--owner-key-file", migrate_options->key_file,
                      "New file for the key's text, which its owner alone may read; else standard output");
  auto* url = migrate->add_option("--database-url", migrate_options->url_file,
                                  "File with a URL of the database of postgres.url, as its owner; else postgres.url is the owner's");
  auto* keys_url = migrate->add_option("--keys-url", migrate_options->keys_url_file, "The same for postgres.keys_url");
  url->needs(keys_url);
  keys_url->needs(url);
  migrate->add_option("--lost-keys", migrate_options->lost_keys,
                      "The content keys are lost for good: go on without, on record with this reason (docs/upgrade.md)");
  migrate->add_option("--lost-records", migrate_options->lost_records,
                      "Records are lost that were acknowledged: go on without, on record with this reason (docs/high-availability.md)");
  migrate->callback([&context, migrate_options] { RunProgram(context, context.programs.migrate, *migrate_options); });
  Teach(*migrate,
        "Goes forward only, under a lock; safe to run twice and from several machines. The first key's text is told once. Of the "
        "configuration,\npostgres has to be as `serve` is given it; models are not looked at, and the root key and the pepper are needed "
        "where a key is made or\nwith --lost-keys.\n`serve` takes no login that owns the tables: give the owner's URLs here, in files, and "
        "the configuration's logins get the "
        "roles\nthat serving takes, and no others. Off a Unix socket, a URL needs sslmode=verify-full.",
        {"tollgate migrate --config /etc/tollgate/tollgate.yaml --database-url /root/owner_url --keys-url /root/owner_keys_url --owner "
         "ann@acme.example"});
}

namespace {
struct ConfigOptions {
  std::string file = "tollgate.yaml";
  std::string field;
};

void Check(Context& context, const std::string& file, bool show) {
  const auto config = config::Load(file);
  if (!config.ok()) {
    context.err() << base::Message(config.status()) << "\n";
    context.exit_code = kRefused;
    return;
  }
  if (context.globals.json) return context.PrintJson(config::Redacted(*config));
  context.Print(show ? config::Dump(*config) : fmt::format("{}: good\n", file));
}
}  // namespace

void AddConfigCommands(CLI::App& app, Context& context) {
  auto* group = app.add_subcommand("config", "The configuration file: check it, explain it, make one")->require_subcommand(1);
  Teach(*group, "",
        {"tollgate config example > tollgate.yaml", "tollgate config check tollgate.yaml", "tollgate config explain pool.models.slots"});

  auto* check = group->add_subcommand("check", "Tell every problem of a file with its line");
  const auto check_options = std::make_shared<ConfigOptions>();
  check->add_option("FILE", check_options->file, "The file")->capture_default_str();
  check->callback([&context, check_options] { Check(context, check_options->file, false); });
  Teach(*check, "Exit code 1 if there is one.", {"tollgate config check /etc/tollgate/tollgate.yaml"});

  auto* show = group->add_subcommand("show", "The configuration with every default filled in and passwords hidden");
  const auto show_options = std::make_shared<ConfigOptions>();
  show->add_option("FILE", show_options->file, "The file")->capture_default_str();
  show->callback([&context, show_options] { Check(context, show_options->file, true); });
  Teach(*show, "", {"tollgate config show tollgate.yaml"});

  auto* explain = group->add_subcommand("explain", "What a field means, its bounds and its default");
  const auto explain_options = std::make_shared<ConfigOptions>();
  explain->add_option("FIELD", explain_options->field, "Dotted name of a field or section; none = the sections");
  explain->callback([&context, explain_options] {
    const auto text = config::Explain(explain_options->field);
    if (text.ok()) return context.Print(*text);
    context.Fail(kUsage, base::Message(text.status()));
  });
  Teach(*explain, "", {"tollgate config explain listeners.grpc.port", "tollgate config explain journal"});

  auto* example = group->add_subcommand("example", "A commented file to start from");
  example->callback([&context] { context.Print(config::Example()); });
  Teach(*example, "", {"tollgate config example > tollgate.yaml"});

  auto* reference = group->add_subcommand("reference", "The reference of every field, as Markdown");
  reference->callback([&context] { context.Print(config::ReferenceMarkdown()); });
  Teach(*reference, "", {"tollgate config reference"});
}

}  // namespace tollgate::cli
