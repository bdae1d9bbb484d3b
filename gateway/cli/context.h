// Context: what every command shares: the options that stand before or behind any command, the streams, and the exit code. Room-internal.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/cli/cli.h"
#include "gateway/cli/table.h"

namespace CLI {
class App;
}
namespace google::protobuf {
class Message;
}

namespace tollgate::cli {

struct Globals {
  std::string admin;  // HOST:PORT; empty = found out (remote.h).
  std::string api;
  std::string key;
  std::string org;
  std::string folder = "var/dev";  // Where `tollgate dev` keeps its files.
  bool tls = false;                // How the instance is reached,
  std::string ca_file;             // and by whose certificates; empty = the system's.
  bool plaintext = false;          // Without TLS, wherever it is.
  bool json = false;
  int timeout_s = 30;
};

struct Context {
  const Programs& programs;
  Streams streams;
  const base::Clock& clock;
  Globals globals{};
  int exit_code = kDone;

  std::ostream& out() { return streams.out; }
  std::ostream& err() { return streams.err; }
  void Fail(int code, const std::string& text) { err() << "tollgate: " << text << "\n", exit_code = code; }

  // The value, or nothing after the command line's fault was told.
  template <typename T>
  std::optional<T> Take(absl::StatusOr<T> value) {
    if (value.ok()) return *std::move(value);
    Fail(kUsage, base::Message(value.status()));
    return std::nullopt;
  }

  // The whole reply as proto3 JSON with the schema's field names.
  void PrintJson(const google::protobuf::Message& reply);
  void Print(const std::string& text) { out() << text; }
};

// Description and examples of a command, in its help.
void Teach(CLI::App& command, const std::string& more, const std::vector<std::string>& examples);

// Each adds its commands under `app`. The context must outlive the app.
void AddLocalCommands(CLI::App& app, Context& context);               // serve dev demo migrate
void AddConfigCommands(CLI::App& app, Context& context);              // config
void AddTenantCommands(CLI::App& app, Context& context);              // org team project
void AddKeyCommands(CLI::App& app, Context& context);                 // key
void AddQuotaCommands(CLI::App& app, Context& context);               // quota
void AddDefaultsCommands(CLI::App& app, Context& context);            // defaults
void AddPriceCommands(CLI::App& app, Context& context);               // prices
void AddStopCommands(CLI::App& app, Context& context);                // stop
void AddPolicyCommands(CLI::App& app, Context& context);              // policy
void AddPolicyExplainCommands(CLI::App& policy, Context& context);    // policy explain, lint
void AddPolicyLifecycleCommands(CLI::App& policy, Context& context);  // policy put, activate, shadow, canary, rollback, list, show …
void AddPolicyBundleCommands(CLI::App& policy, Context& context);     // policy bundle, sign, verify, apply, signers
void AddPolicyReplayCommands(CLI::App& policy, Context& context);     // policy replay, shadow-report
void AddApprovalCommands(CLI::App& policy, Context& context);         // policy approvals, approve
void AddAuditCommands(CLI::App& app, Context& context);               // audit
void AddPseudonymCommands(CLI::App& audit, Context& context);         // audit pseudonym
void AddAnswerReplayCommand(CLI::App& audit, Context& context);       // audit replay
void AddUsageCommands(CLI::App& app, Context& context);               // usage
void AddModelCommands(CLI::App& app, Context& context);               // models
void AddChatCommand(CLI::App& app, Context& context);                 // chat
void AddEmbedCommand(CLI::App& app, Context& context);                // embed

}  // namespace tollgate::cli
