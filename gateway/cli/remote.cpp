// A channel of gRPC keeps trying to connect for ever; a person wants to know at once. So the first refusal of a connection ends the wait.
//
// Tested by tests/gateway/cli/remote_test.cpp.
#include "gateway/cli/remote.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "base/adapter_names.h"
#include "base/encoding.h"
#include "base/networks.h"
#include "gateway/cli/dev_files.h"
#include "tollgate/v1/system.grpc.pb.h"

namespace tollgate::cli {
namespace {
std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}
// Debian's gRPC looks for the system's authorities where Debian does not keep them.
constexpr const char* kSystemAuthorities = "/etc/ssl/certs/ca-certificates.crt";

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(const Target& target) {
  if (!target.tls) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  auto authorities = base::ReadFile(target.ca_file.empty() ? kSystemAuthorities : target.ca_file);
  if (authorities.ok()) {
    options.pem_root_certs = *std::move(authorities);
  } else if (!target.ca_file.empty()) {
    return base::InvalidArgument("--ca: " + base::Message(authorities.status()));
  }
  return grpc::SslCredentials(options);
}
}  // namespace

bool StaysHere(std::string_view address) {
  if (address.starts_with("unix:")) return true;
  std::string_view host = address.substr(0, address.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") return true;
  static const std::string kLoopback[] = {"127.0.0.0/8", "::1"};
  static const base::Networks loopback = *base::Networks::Parse(kLoopback);
  const auto ip = base::ParseIp(host);
  return ip && loopback.Contains(*ip);
}

Target FindTarget(const Globals& globals, Listener listener) {
  const bool admin = listener == Listener::kAdmin;
  Target target;
  target.tls = globals.tls;
  target.ca_file = globals.ca_file;
  target.address = admin ? globals.admin : globals.api;
  target.from = admin ? "--admin" : "--api";
  if (target.address.empty()) {
    target.from = admin ? "TOLLGATE_ADMIN" : "TOLLGATE_API";
    target.address = Environment(target.from.c_str());
  }
  const auto dev = ReadDevEndpoints(globals.folder);
  const std::string dev_address = dev.ok() ? fmt::format("127.0.0.1:{}", admin ? dev->admin_port : dev->grpc_port) : "";
  if (target.address.empty() && dev.ok()) {
    target.from = globals.folder;
    target.address = dev_address;
  }
  if (target.address.empty()) {
    target.from = "the default";
    target.address = admin ? "127.0.0.1:8083" : "127.0.0.1:8081";
  }
  target.key = globals.key.empty() ? Environment("TOLLGATE_KEY") : globals.key;
  if (target.key.empty() && target.address == dev_address) {
    const auto keys = ReadDevKeys(globals.folder);
    if (keys.ok()) target.key = SecretOf(*keys, admin ? "owner" : "web");
    if (!target.key.empty()) target.dev_org = dev->org;
  }
  return target;
}

std::string OrgOf(const Globals& globals) { return globals.org.empty() ? FindTarget(globals, Listener::kAdmin).dev_org : globals.org; }

absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const Target& target, std::chrono::milliseconds timeout) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  TG_ASSIGN(const auto credentials, CredentialsOf(target));
  auto channel = grpc::CreateCustomChannel(target.address, credentials, arguments);
  const auto deadline = std::chrono::system_clock::now() + timeout;
  for (auto state = channel->GetState(true); state != GRPC_CHANNEL_READY; state = channel->GetState(true)) {
    const bool refused = state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN;
    if (refused || !channel->WaitForStateChange(state, deadline)) {
      return base::Unavailable(
          fmt::format("nothing answers at {} (from {}){}; start Tollgate with `tollgate dev`, or name the address of a running one with {}",
                      target.address, target.from,
                      target.tls ? " by TLS with a certificate of its name that --ca, or the system's authorities, vouch for" : "",
                      "--admin or --api, TOLLGATE_ADMIN or TOLLGATE_API"));
    }
  }
  return channel;
}

std::optional<Line> Open(Context& context, Listener listener) {
  const Target target = FindTarget(context.globals, listener);
  if (target.address.find(':') == std::string::npos) {
    context.Fail(kUsage, fmt::format("\"{}\" (from {}) is no address; write HOST:PORT", target.address, target.from));
    return std::nullopt;
  }
  if (!target.tls && !context.globals.plaintext && !StaysHere(target.address)) {
    context.Fail(kUsage,
                 fmt::format("{} (from {}) is another machine, and the key would go there for everybody on the way to read; use --tls "
                             "where a TLS proxy stands before it, go through ssh (`ssh -L 8083:127.0.0.1:8083 HOST`), or say "
                             "--plaintext",
                             target.address, target.from));
    return std::nullopt;
  }
  auto channel = Connect(target, std::chrono::seconds(5));
  if (!channel.ok()) {
    context.Fail(absl::IsInvalidArgument(channel.status()) ? kUsage : kUnavailable, base::Message(channel.status()));
    return std::nullopt;
  }
  if (target.key.empty()) {
    context.Fail(kUsage,
                 "no key: give one with --key or TOLLGATE_KEY (`tollgate dev` keeps the ones it made in var/dev/keys.json; from another "
                 "folder: --folder PATH/var/dev)");
    return std::nullopt;
  }
  return Line{*channel, target.key};
}

void Prepare(grpc::ClientContext& call, const std::string& key, int timeout_s) {
  call.AddMetadata("authorization", "Bearer " + key);
  call.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(timeout_s));
}

void WarnUnlessServed(Context& context, const Line& line, const std::string& model, const std::string& then) {
  v1::StatusReply status;
  if (!Call<v1::System>(context, line, &v1::System::Stub::Status, v1::StatusRequest(), status).ok()) return;
  std::vector<std::string> served;
  for (const v1::ModelStatus& one : status.models()) served.push_back(one.name());
  std::vector<std::string> asked = base::SplitAdapters(model).adapters;  // Several together are served where each is.
  if (asked.size() < 2) asked = {model};
  const auto is_served = [&](const std::string& one) { return std::find(served.begin(), served.end(), one) != served.end(); };
  if (std::all_of(asked.begin(), asked.end(), is_served)) return;
  context.err() << fmt::format("warning: no model {} is served here now ({}); {}\n", model,
                               served.empty() ? "none is" : fmt::format("served: {}", fmt::join(served, ", ")), then);
}

}  // namespace tollgate::cli
