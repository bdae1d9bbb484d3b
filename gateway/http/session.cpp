// All on the connection's strand. One coroutine reads a request, runs the handler, and starts over; what a client pipelines waits in the
// buffer.
//
// Leaving clients: while a handler runs, the socket is watched for readability. End of file or an error means that the client has gone, and
// sets the cancellation; of one that vanished without a word the kernel says so (WatchForDeath). Data is a pipelined request: it goes to
// the buffer, as far as that has room; a client that fills it is watched no more until its turn comes, and a failing write tells then.
//
// Timeouts: each state of the connection sets a deadline, a plain number, and the server's Tick looks at it. Nothing arms a timer per
// request. Writes are one at a time: a keep-alive comment and the handler's write wait for each other.
//
// Tested by tests/gateway/http/http_front_test.cpp.
#include "gateway/http/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/write.hpp>
#include <exception>
#include <utility>
#include <vector>

#include "gateway/http/beast_session.h"
#include "gateway/http/chat_reply.h"
#include "gateway/net/forwarded.h"

namespace tollgate::http_front {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

constexpr std::size_t kFieldsMax = 128;
constexpr std::size_t kReadBytes = 8 * 1024;
constexpr std::size_t kBodyReadBytes = 64 * 1024;
constexpr std::size_t kAheadBytesMax = 64 * 1024;   // Of pipelined requests, while one runs.
constexpr std::size_t kWriteBytesMax = 256 * 1024;  // Of an answer, in one write.
constexpr std::size_t kLingerBytesMax = 64 * 1024 * 1024;
constexpr std::chrono::milliseconds kLinger{2000};

// Peers that vanish say nothing: a quiet connection is asked, and given up after some questions without an answer. One that has bytes on
// their way is not asked; it is given up when nobody took them for as long as a write may take, or a lossy network may need. The kernel has
// one number for both, and it goes before the count of questions: so a longer one is there from a write on, and not while a request runs
// that has had nothing yet.
constexpr int kProbeIdleSeconds = 15, kProbeEverySeconds = 5, kProbes = 3, kUntakenMs = 30'000;

void SetOption(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

void WatchForDeath(int fd) {
  SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, kProbeIdleSeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeEverySeconds);
  SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

}  // namespace

BeastSession::BeastSession(Socket socket, net::Accepted connection, const SessionContext& context)
    : context_(context),
      source_(std::move(connection.source)),
      slot_(std::move(connection.slot)),
      held_(context.bodies),
      socket_(std::move(socket)),
      write_ended_(socket_.get_executor(), Mono::time_point::max()),
      buffer_(static_cast<std::size_t>(context.options.header_bytes_max) + kAheadBytesMax + kBodyReadBytes) {}

void BeastSession::Start() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {  // Not within the listener's call.
    asio::co_spawn(self->socket_.get_executor(), self->Run(), [self](std::exception_ptr error) {
      TG_CHECK(error == nullptr, "an HTTP session's coroutine threw");
      self->Close();
      self->context_.on_end(self.get());
    });
  });
}

void BeastSession::Tick(Mono::time_point now) {
  if (deadline_.Passed(now)) {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (!self->deadline_.Passed()) return;  // It moved on meanwhile.
      self->ClientGone();
      self->Close();
    });
  } else if (comment_.Passed(now)) {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->writing_ || !self->comment_.Passed()) return;
      asio::co_spawn(self->socket_.get_executor(), self->WriteComment(), [self](std::exception_ptr) {});
    });
  }
}

void BeastSession::Drain() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->draining_ = true;
    if (self->idle_) self->Close();
  });
}

void BeastSession::Cut() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->draining_ = true;
    self->ClientGone();
    self->Close();
  });
}

std::optional<std::string_view> BeastSession::Header(std::string_view name) const {
  const auto [first, last] = Fields().equal_range(beast::string_view(name.data(), name.size()));
  if (first == last || std::next(first) != last) return std::nullopt;
  return View(first->value());
}

void BeastSession::FindClient() {
  if (context_.options.listener.proxies.empty()) return;
  std::vector<std::string_view> forwarded;
  const auto [first, last] = parser_->get().equal_range("x-forwarded-for");
  for (auto field = first; field != last; ++field) forwarded.push_back(View(field->value()));
  client_ = net::ClientOf(source_, forwarded, context_.options.listener.proxies);
}

async::Awaitable<void> BeastSession::Run() {
  for (;;) {
    const bool more = co_await ReadRequest();
    if (!more) break;
    received_ = Mono::now();
    busy_ = true;
    deadline_.Never();
    GiveUpAfter(kUntakenMs);
    Watch();
    co_await context_.handler(*this);
    TG_CHECK(answered_, "a handler ended without an answer");
    busy_ = false;
    if (gone_ || !keep_alive_ || draining_) break;
  }
  if (!gone_ && socket_.is_open()) co_await Linger();
}

async::Awaitable<bool> BeastSession::ReadRequest() {
  held_.Release();
  parser_.emplace();
  head_.reset();
  parser_->header_limit(static_cast<std::uint32_t>(context_.options.header_bytes_max));
  parser_->body_limit(static_cast<std::uint64_t>(context_.options.body_bytes_max));
  if (draining_) co_return false;
  if (buffer_.size() == 0) {
    if (buffer_.capacity() > kReadBytes) buffer_.shrink_to_fit();
    deadline_.In(context_.options.idle_timeout_ms);
    idle_ = true;
    const bool read = co_await ReadSome(kReadBytes);
    idle_ = false;
    if (!read) co_return false;
  }
  deadline_.In(context_.options.header_timeout_ms);
  while (!parser_->is_header_done()) {
    const bool fed = co_await Feed(kReadBytes);
    if (!fed) co_return false;
  }
  const bool admitted = co_await Admit();
  if (!admitted || parser_->is_done()) co_return admitted;
  co_return co_await ReadBody();
}

// What says to be too long for now is not read at all; room is taken for what has come.
async::Awaitable<bool> BeastSession::ReadBody() {
  absl::Status room = held_.RoomFor(static_cast<std::int64_t>(parser_->content_length().value_or(0)));
  if (room.ok() && beast::iequals(parser_->get()[http::field::expect], "100-continue") && buffer_.size() == 0) {
    const bool written = co_await Write("HTTP/1.1 100 Continue\r\n\r\n");
    if (!written) co_return false;
  }
  deadline_.In(context_.options.body_timeout_ms);
  parser_->eager(true);
  while (room.ok() && !parser_->is_done()) {
    const bool fed = co_await Feed(kBodyReadBytes);
    if (!fed) co_return false;
    room = held_.GrowTo(static_cast<std::int64_t>(body().size()));
  }
  if (head_) static_cast<http::fields&>(parser_->get().base()) = *head_;  // Nobody reads what follows the chunks.
  if (room.ok()) co_return true;
  const ErrorReply reply = ToErrorReply(room);
  co_await Reject(reply);
  co_return false;
}

// With the head complete. Who is turned away may still be sending a body: the connection ends.
async::Awaitable<bool> BeastSession::Admit() {
  received_ = Mono::now();
  FindClient();
  cancellation_ = std::make_shared<pipeline::Cancellation>();
  http_1_0_ = parser_->get().version() < 11;
  answered_ = false;
  keep_alive_ = false;
  // Who stands before us may take such a request's end for elsewhere (RFC 9112 §6.3).
  if (parser_->get().count(http::field::transfer_encoding) > 0 && (http_1_0_ || !parser_->chunked())) {
    co_await Reject(http::error::bad_transfer_encoding);
    co_return false;
  }
  if (parser_->chunked()) head_.emplace(parser_->get().base());  // Beast puts trailers among the headers, where a proxy did not see them.
  std::optional<pipeline::Tenant> tenant = pipeline::Tenant();
  if (context_.doorkeeper) tenant = co_await context_.doorkeeper(*this);
  if (!tenant) co_return false;
  held_.Of(*std::move(tenant));
  keep_alive_ = parser_->get().keep_alive();
  co_return true;
}

async::Awaitable<bool> BeastSession::Feed(std::size_t bytes) {
  if (buffer_.size() > 0) {
    Error error;
    const std::size_t used = parser_->put(buffer_.data(), error);
    buffer_.consume(used);
    // What follows a body in chunks is taken once it is whole.
    const bool stuck = used == 0 && buffer_.size() > static_cast<std::size_t>(context_.options.header_bytes_max);
    if ((!error || error == http::error::need_more) && (stuck || TooManyFields())) error = http::error::header_limit;
    if (!error || (error == http::error::need_more && used > 0)) co_return true;  // Who feeds counts what came before more is awaited.
    if (error != http::error::need_more) {
      co_await Reject(error);
      co_return false;
    }
  }
  co_return co_await ReadSome(bytes);
}

// The parser's own limit is for what it has not taken yet, and so one for a single field where fields come one by one.
bool BeastSession::TooManyFields() const {
  std::size_t count = 0, bytes = 0;
  for (const auto& field : parser_->get().base()) {
    ++count;
    bytes += field.name_string().size() + field.value().size() + 4;
  }
  return count > kFieldsMax || bytes > static_cast<std::size_t>(context_.options.header_bytes_max);
}

async::Awaitable<bool> BeastSession::ReadSome(std::size_t bytes) {
  const auto space = buffer_.prepare(std::min(bytes, buffer_.max_size() - buffer_.size()));
  const auto [error, count] = co_await socket_.async_read_some(space, asio::as_tuple(asio::use_awaitable));
  buffer_.commit(count);
  if (error || count == 0) {
    gone_ = true;
    co_return false;
  }
  co_return true;
}

void BeastSession::DropBody() {
  std::string().swap(parser_->get().body());
  held_.Release();
}

async::Awaitable<void> BeastSession::Reject(Error error) {
  const ErrorReply reply = error == http::error::body_limit     ? BodyTooLarge(context_.options.body_bytes_max)
                           : error == http::error::header_limit ? HeadTooLarge(kFieldsMax, context_.options.header_bytes_max)
                                                                : NotHttp();
  co_await Reject(reply);
}

async::Awaitable<void> BeastSession::Reject(const ErrorReply& reply) {
  keep_alive_ = false;
  DropBody();
  co_await Respond(reply.http_status, "application/json", reply.headers, reply.body);
}

// The answer must reach a client that is still sending: close our side, and read what comes for a moment.
async::Awaitable<void> BeastSession::Linger() {
  Error ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  deadline_.In(kLinger.count());
  std::size_t total = 0;
  buffer_.consume(buffer_.size());
  while (total < kLingerBytesMax) {
    const auto [error, count] = co_await socket_.async_read_some(buffer_.prepare(kReadBytes), asio::as_tuple(asio::use_awaitable));
    if (error || count == 0) break;
    total += count;
  }
}

async::Awaitable<bool> BeastSession::Write(std::string bytes) {
  while (writing_) co_await write_ended_.async_wait(asio::as_tuple(asio::use_awaitable));
  if (gone_) co_return false;
  writing_ = true;
  GiveUpAfter(std::max(context_.options.write_timeout_ms, kUntakenMs));
  // In pieces, each with its time: whoever reads much slowly is no client that does not read.
  for (std::size_t at = 0; at < bytes.size() && !gone_; at += kWriteBytesMax) {
    deadline_.In(context_.options.write_timeout_ms);
    const asio::const_buffer piece(bytes.data() + at, std::min(kWriteBytesMax, bytes.size() - at));
    const auto [error, count] = co_await asio::async_write(socket_, piece, asio::as_tuple(asio::use_awaitable));
    if (error || count != piece.size()) ClientGone();
  }
  writing_ = false;
  write_ended_.cancel();
  deadline_.Never();
  if (comment_.set()) comment_.In(context_.options.comment_ms);
  co_return !gone_;
}

void BeastSession::GiveUpAfter(int untaken_ms) {
  if (untaken_ms_ == untaken_ms || !socket_.is_open()) return;
  untaken_ms_ = untaken_ms;
  SetOption(socket_.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, untaken_ms);
}

async::Awaitable<void> BeastSession::WriteComment() {
  while (writing_) co_await write_ended_.async_wait(asio::as_tuple(asio::use_awaitable));
  if (comment_.set()) co_await Write(Framed(kKeepAliveComment));
}

async::Awaitable<void> BeastSession::Respond(int status, std::string_view content_type, const Headers& headers, std::string body) {
  answered_ = true;
  keep_alive_ = keep_alive_ && !draining_;
  const bool head_only = parser_->is_header_done() && method() == "HEAD";
  std::string bytes = FormatHead(
      {.status = status, .content_type = content_type, .content_length = body.size(), .http_1_0 = http_1_0_, .keep_alive = keep_alive_},
      headers, context_.clock.Wall());
  if (head_only) body.clear();
  bytes.append(body, 0, kWriteBytesMax);
  bool written = co_await Write(std::move(bytes));
  for (std::size_t at = kWriteBytesMax; written && at < body.size(); at += kWriteBytesMax) {
    written = co_await Write(body.substr(at, kWriteBytesMax));
  }
}

async::Awaitable<bool> BeastSession::BeginStream(const Headers& headers, std::string first) {
  keep_alive_ = keep_alive_ && !draining_ && !http_1_0_;
  std::string bytes = FormatHead({.status = 200,
                                  .content_type = "text/event-stream",
                                  .content_length = std::nullopt,
                                  .http_1_0 = http_1_0_,
                                  .keep_alive = keep_alive_},
                                 headers, context_.clock.Wall());
  bytes += Framed(first);
  comment_.In(context_.options.comment_ms);
  co_return co_await Write(std::move(bytes));
}

async::Awaitable<bool> BeastSession::Send(std::string data) { co_return co_await Write(Framed(data)); }

async::Awaitable<void> BeastSession::EndStream(std::string last, bool close) {
  answered_ = true;
  comment_.Never();
  if (close) keep_alive_ = false;
  std::string bytes = Framed(last);
  if (!http_1_0_) bytes += "0\r\n\r\n";
  co_await Write(std::move(bytes));
}

void BeastSession::Watch() {
  if (watching_ || !socket_.is_open()) return;
  watching_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](Error error) {
    self->watching_ = false;
    if (!self->busy_) return;  // The reader has taken over, and sees what this saw.
    if (error) return self->ClientGone();
    self->OnReadable();
  });
}

void BeastSession::OnReadable() {
  if (buffer_.size() >= kAheadBytesMax) return;
  const auto space = buffer_.prepare(kReadBytes);
  const ssize_t count = recv(socket_.native_handle(), space.data(), space.size(), MSG_DONTWAIT);
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return ClientGone();
  if (count > 0) buffer_.commit(static_cast<std::size_t>(count));
  Watch();
}

void BeastSession::ClientGone() {
  gone_ = true;
  cancellation_->Cancel();
}

void BeastSession::Close() {
  Error ignored;
  socket_.close(ignored);
}

std::shared_ptr<Session> MakeSession(asio::io_context& io, net::Accepted connection, const SessionContext& context) {
  const int fd = connection.fd;
  const bool v6 = connection.source.find(':') != std::string::npos;
  BeastSession::Socket socket(asio::make_strand(io));
  BeastSession::Error error;
  socket.assign(v6 ? tcp::v6() : tcp::v4(), fd, error);
  if (error) {
    ::close(fd);
    return nullptr;
  }
  socket.non_blocking(true, error);
  WatchForDeath(fd);
  return std::make_shared<BeastSession>(std::move(socket), std::move(connection), context);
}

}  // namespace tollgate::http_front
