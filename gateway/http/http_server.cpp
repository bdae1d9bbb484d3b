// Sessions stand in one table; each takes itself out as the last thing it does. One timer looks at every session's deadline a few times a
// second.
//
// Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/http_server.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "gateway/http/session.h"
#include "gateway/net/io_threads.h"

namespace tollgate::http_front {
namespace {

namespace asio = boost::asio;

std::chrono::milliseconds TickEvery(const HttpOptions& o) {
  const int least = std::min({o.header_timeout_ms, o.body_timeout_ms, o.idle_timeout_ms, o.write_timeout_ms, o.comment_ms});
  return std::chrono::milliseconds(std::clamp(least / 4, 10, 250));
}

// The sessions, shared with the timer's handler, which may come once more after the server is gone.
struct Table {
  explicit Table(asio::io_context& io) : timer(io) {}

  base::Mutex mu;
  std::condition_variable changed;
  std::unordered_map<Session*, std::shared_ptr<Session>> sessions GUARDED_BY(mu);
  bool draining GUARDED_BY(mu) = false;
  bool stopped GUARDED_BY(mu) = false;
  asio::steady_timer timer GUARDED_BY(mu);

  template <typename Do>
  void ForEach(Do&& act) {
    const base::Lock lock(mu);
    for (const auto& [key, session] : sessions) act(*session);
  }
};

void TickLater(std::shared_ptr<Table> table, std::chrono::milliseconds every) {
  const base::Lock lock(table->mu);
  if (table->stopped) return;
  table->timer.expires_after(every);
  table->timer.async_wait([table, every](const boost::system::error_code& error) {
    if (error) return;
    const auto now = std::chrono::steady_clock::now();
    table->ForEach([now](Session& session) { session.Tick(now); });
    TickLater(table, every);
  });
}

}  // namespace

struct HttpServer::Impl {
  Impl(HttpOptions o, net::IoThreads& threads, const base::Clock& clock, Handler handler, Doorkeeper doorkeeper)
      : options(std::move(o)),
        io(threads),
        table(std::make_shared<Table>(threads.context())),
        context{options,
                clock,
                std::move(handler),
                std::move(doorkeeper),
                std::make_shared<BodyBytes>(options.memory_bytes_max, options.body_bytes_max),
                [this](Session* session) { OnEnd(session); }} {}

  void OnConnection(net::Accepted connection) {
    std::shared_ptr<Session> session = MakeSession(io.context(), std::move(connection), context);
    if (!session) return;
    {
      const base::Lock lock(table->mu);
      table->sessions.emplace(session.get(), session);
    }
    session->Start();
  }

  void OnEnd(Session* session) {
    std::shared_ptr<Session> ended;  // Outlives the lock.
    const base::Lock lock(table->mu);
    const auto it = table->sessions.find(session);
    if (it == table->sessions.end()) return;
    ended = std::move(it->second);
    table->sessions.erase(it);
    if (table->sessions.empty()) table->changed.notify_all();
  }

  // True when no session is left.
  bool AwaitEmpty(std::chrono::steady_clock::time_point until) {
    base::Lock lock(table->mu);
    return table->changed.wait_until(lock.native(), until, [this]() REQUIRES(table->mu) { return table->sessions.empty(); });
  }

  const HttpOptions options;
  net::IoThreads& io;
  std::unique_ptr<net::Listener> listener;
  const std::shared_ptr<Table> table;
  const SessionContext context;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Shutdown(std::chrono::milliseconds(0)); }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options, net::IoThreads& io, const base::Clock& clock,
                                                              Handler handler, Doorkeeper doorkeeper) {
  auto impl = std::make_unique<Impl>(std::move(options), io, clock, std::move(handler), std::move(doorkeeper));
  TG_ASSIGN(impl->listener, net::Listener::Bind(impl->options.listener, io));
  Impl* raw = impl.get();
  TickLater(impl->table, TickEvery(impl->options));
  raw->listener->Start([raw](net::Accepted connection) { raw->OnConnection(std::move(connection)); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::StopAccepting() {
  impl_->listener->Stop();
  impl_->table->ForEach([](Session& session) { session.Drain(); });
}

bool HttpServer::AwaitIdle(std::chrono::milliseconds within) { return impl_->AwaitEmpty(std::chrono::steady_clock::now() + within); }

void HttpServer::Shutdown(std::chrono::milliseconds deadline) {
  StopAccepting();
  if (!impl_->AwaitEmpty(std::chrono::steady_clock::now() + deadline)) {
    impl_->table->ForEach([](Session& session) { session.Cut(); });
    while (!impl_->AwaitEmpty(std::chrono::steady_clock::now() + std::chrono::seconds(1))) {
    }
  }
  const base::Lock lock(impl_->table->mu);
  impl_->table->stopped = true;
  impl_->table->timer.cancel();
}

const net::Listener& HttpServer::listener() const { return *impl_->listener; }
std::int64_t HttpServer::body_bytes() const { return impl_->context.bodies->held(); }

}  // namespace tollgate::http_front
