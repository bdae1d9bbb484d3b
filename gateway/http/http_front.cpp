// Composition: a server and its handler.
//
// Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/http_front.h"

#include <utility>

#include "gateway/http/api.h"
#include "gateway/http/http_server.h"
#include "gateway/http/probes.h"

namespace tollgate::http_front {

struct HttpFront::Impl {
  Impl(const HttpOptions& options, boost::asio::any_io_executor cpu, pipeline::Service& service, Probes probes)
      : api(service, std::move(probes), std::move(cpu), options.system_fingerprint) {}

  Api api;
  std::unique_ptr<HttpServer> server;
};

HttpFront::HttpFront(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpFront::~HttpFront() { Shutdown(std::chrono::milliseconds(0)); }

absl::StatusOr<std::unique_ptr<HttpFront>> HttpFront::Start(HttpOptions options, net::IoThreads& io, boost::asio::any_io_executor cpu,
                                                            pipeline::Service& service, Probes probes, const base::Clock& clock) {
  probes.metrics = nullptr;  // How the instance does is for those who run it: not on the API's listener.
  auto impl = std::make_unique<Impl>(options, std::move(cpu), service, std::move(probes));
  Api* api = &impl->api;
  TG_ASSIGN(impl->server, HttpServer::Start(
                              std::move(options), io, clock, [api](Exchange& exchange) { return api->Handle(exchange); },
                              [api](Exchange& exchange) { return api->Admit(exchange); }));
  return std::unique_ptr<HttpFront>(new HttpFront(std::move(impl)));
}

void HttpFront::StopAccepting() { impl_->server->StopAccepting(); }
bool HttpFront::AwaitIdle(std::chrono::milliseconds within) { return impl_->server->AwaitIdle(within); }
void HttpFront::Shutdown(std::chrono::milliseconds deadline) { impl_->server->Shutdown(deadline); }
std::uint16_t HttpFront::port() const { return impl_->server->listener().port(); }
const net::Listener& HttpFront::listener() const { return impl_->server->listener(); }
std::int64_t HttpFront::body_bytes() const { return impl_->server->body_bytes(); }

struct ProbesFront::Impl {
  Probes probes;
  std::unique_ptr<HttpServer> server;

  async::Awaitable<void> Handle(Exchange& exchange) {
    const bool answered = co_await AnswerProbe(exchange, probes, Reasons::kTold);
    if (!answered) co_await AnswerUnknown(exchange, "");
  }
};

ProbesFront::ProbesFront(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProbesFront::~ProbesFront() { Shutdown(std::chrono::milliseconds(0)); }

absl::StatusOr<std::unique_ptr<ProbesFront>> ProbesFront::Start(HttpOptions options, net::IoThreads& io, Probes probes) {
  auto impl = std::make_unique<Impl>();
  impl->probes = std::move(probes);
  Impl* raw = impl.get();
  TG_ASSIGN(impl->server,
            HttpServer::Start(std::move(options), io, base::SystemClock(), [raw](Exchange& exchange) { return raw->Handle(exchange); }));
  return std::unique_ptr<ProbesFront>(new ProbesFront(std::move(impl)));
}

void ProbesFront::Shutdown(std::chrono::milliseconds deadline) { impl_->server->Shutdown(deadline); }
std::uint16_t ProbesFront::port() const { return impl_->server->listener().port(); }
const net::Listener& ProbesFront::listener() const { return impl_->server->listener(); }

}  // namespace tollgate::http_front
