// Remote: a call to the instance's admin or API listener, and what to say when it fails. Room-internal, and for `tollgate demo`.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "gateway/cli/context.h"

namespace tollgate::cli {

enum class Listener { kAdmin, kApi };

// Where to call and with what.
struct Target {
  std::string address;  // HOST:PORT
  std::string key;      // Empty: none was found.
  std::string from;     // Where the address came from, for messages.
  std::string dev_org;  // The sample company, if the key is one that `tollgate dev` made.
  bool tls = false;
  std::string ca_file;  // For TLS; empty = the system's authorities.
};

// Whether what is sent to HOST:PORT stays on this machine: a loopback address, localhost, or a socket in the file system.
bool StaysHere(std::string_view address);

// Option, then environment (TOLLGATE_ADMIN, TOLLGATE_API, TOLLGATE_KEY), then the files of `tollgate dev`, then 127.0.0.1:8083 or :8081. A
// dev key is taken only for the address that `tollgate dev` listens at.
Target FindTarget(const Globals& globals, Listener listener);

// The org that a change or a list of the directory is about: --org, or the sample company when the key is `tollgate dev`'s; empty = the
// key's own.
std::string OrgOf(const Globals& globals);

// A connected channel; UNAVAILABLE, in words for people, when nothing listens there. INVALID_ARGUMENT: the file of authorities cannot be
// read.
absl::StatusOr<std::shared_ptr<grpc::Channel>> Connect(const Target& target, std::chrono::milliseconds timeout);

// What a call that failed in mid-way may have left behind: of what only reads, nothing, and sent again it does no harm.
enum class Effect { kReads, kChanges };

// The error in words of the command line, with what its details say: reason, rules, when to try again (error_words.cpp).
std::string Describe(const grpc::Status& status);
int ExitCodeOf(const grpc::Status& status, Effect effect);

// Tells the failure, in what `words` makes of Describe's, and leaves its exit code.
using Words = std::function<std::string(const std::string&)>;
void Tell(Context& context, const grpc::Status& status, Effect effect, const Words& words = {});

// Channel and credentials for one command; nullopt after the failure was told.
struct Line {
  std::shared_ptr<grpc::Channel> channel;
  std::string key;
};
std::optional<Line> Open(Context& context, Listener listener);

void Prepare(grpc::ClientContext& call, const std::string& key, int timeout_s);

// Warns, on standard error, when the instance serves no model of this name now: `then` says what follows. A misspelt name must not look
// like success.
void WarnUnlessServed(Context& context, const Line& line, const std::string& model, const std::string& then);

// Calls one unary method.
template <typename Service, typename Request, typename Reply>
grpc::Status Call(const Context& context, const Line& line,
                  grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request,
                  Reply& reply) {
  const auto stub = Service::NewStub(line.channel);
  grpc::ClientContext call;
  Prepare(call, line.key, context.globals.timeout_s);
  return ((*stub).*method)(&call, request, &reply);
}

// The same, with the connection. nullopt after the failure was told.
//   auto reply = Ask<v1::Directory>(context, Listener::kAdmin, &v1::Directory::Stub::CreateTeam, request);
template <typename Service, typename Request, typename Reply>
std::optional<Reply> Ask(Context& context, Listener listener,
                         grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request,
                         const Words& words = {}, Effect effect = Effect::kChanges) {
  const auto line = Open(context, listener);
  if (!line) return std::nullopt;
  Reply reply;
  const grpc::Status status = Call<Service>(context, *line, method, request, reply);
  if (status.ok()) return reply;
  Tell(context, status, effect, words);
  return std::nullopt;
}

// The same of what only reads, a record that it was read aside.
template <typename Service, typename Request, typename Reply>
std::optional<Reply> Look(Context& context, Listener listener,
                          grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), const Request& request,
                          const Words& words = {}) {
  return Ask<Service>(context, listener, method, request, words, Effect::kReads);
}

// The same of a list in pages: asks until the last page and joins them, at most `rows_max` rows as `count` counts them.
template <typename Service, typename Request, typename Reply, typename Count>
std::optional<Reply> AskAll(Context& context, Listener listener,
                            grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&, Reply*), Request request,
                            Count count, int rows_max = 1'000'000) {
  std::optional<Reply> all;
  for (;;) {
    auto page = Look<Service>(context, listener, method, request);
    if (!page) return std::nullopt;
    const std::string next = page->next_page_token();
    page->clear_next_page_token();
    if (all) {
      all->MergeFrom(*page);
    } else {
      all = std::move(page);
    }
    if (next.empty() || count(*all) >= rows_max) return all;
    request.set_page_token(next);
  }
}

}  // namespace tollgate::cli
