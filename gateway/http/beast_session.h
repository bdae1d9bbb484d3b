// The session of session.h, over Beast: how it works is told in session.cpp. Inner.
#pragma once

#include <algorithm>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/buffer_traits.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/http/body_bytes.h"
#include "gateway/http/deadline.h"
#include "gateway/http/response_head.h"
#include "gateway/http/session.h"

namespace tollgate::http_front {

// A body in a string that grows with what comes. Beast's own takes room for all that its head promises.
struct GrowingBody {
  using value_type = std::string;
  static std::uint64_t size(const value_type& body) { return body.size(); }

  class reader {
   public:
    template <bool kRequest, class Fields>
    reader(boost::beast::http::header<kRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>& length, boost::system::error_code& error) {
      if (length) length_ = static_cast<std::size_t>(*length);
      error = {};
    }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::system::error_code& error) {
      const std::size_t bytes = boost::beast::buffer_bytes(buffers), all = body_.size() + bytes;
      if (all > body_.capacity()) {
        value_type grown;  // One that has something would take twice that at least.
        grown.reserve(std::min(std::max(all, 2 * body_.capacity()), std::max(all, length_)));
        body_.swap(grown.append(body_));
      }
      for (const auto& part : boost::beast::buffers_range_ref(buffers)) body_.append(static_cast<const char*>(part.data()), part.size());
      error = {};
      return bytes;
    }
    void finish(boost::system::error_code& error) { error = {}; }

   private:
    value_type& body_;
    std::size_t length_ = std::numeric_limits<std::size_t>::max();  // As the head says; else unknown.
  };
};

class BeastSession final : public Session, public Exchange, public std::enable_shared_from_this<BeastSession> {
 public:
  using Error = boost::system::error_code;
  using Mono = std::chrono::steady_clock;
  using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;
  using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Strand>;

  BeastSession(Socket socket, net::Accepted connection, const SessionContext& context);

  // Session.
  void Start() override;
  void Tick(Mono::time_point now) override;
  void Drain() override;
  void Cut() override;

  // Exchange.
  std::string_view method() const override { return View(parser_->get().method_string()); }
  std::string_view target() const override { return View(parser_->get().target()); }
  std::optional<std::string_view> Header(std::string_view name) const override;
  std::size_t HeaderCount(std::string_view name) const override { return Fields().count({name.data(), name.size()}); }
  bool has_body() const override { return !parser_->is_done() || !parser_->get().body().empty(); }
  const std::string& body() const override { return parser_->get().body(); }
  void DropBody() override;
  const std::string& source() const override { return client_; }
  Mono::time_point received() const override { return received_; }
  const std::shared_ptr<pipeline::Cancellation>& cancellation() const override { return cancellation_; }
  async::Awaitable<void> Respond(int status, std::string_view content_type, const Headers& headers, std::string body) override;
  std::chrono::milliseconds comment_every() const override { return std::chrono::milliseconds(context_.options.comment_ms); }
  async::Awaitable<bool> BeginStream(const Headers& headers, std::string first) override;
  async::Awaitable<bool> Send(std::string data) override;
  async::Awaitable<void> EndStream(std::string last, bool close) override;
  void Abort() override { Cut(); }

 private:
  const boost::beast::http::fields& Fields() const { return head_ ? *head_ : parser_->get().base(); }
  static std::string_view View(boost::beast::string_view s) { return {s.data(), s.size()}; }

  async::Awaitable<void> Run();
  async::Awaitable<bool> ReadRequest();  // False: nothing more to serve.
  async::Awaitable<bool> Admit();        // False: turned away, and answered.
  void FindClient();                     // From the head.
  async::Awaitable<bool> ReadBody();
  async::Awaitable<bool> Feed(std::size_t bytes);  // Gives the parser more; false: the connection ended or the request was refused.
  bool TooManyFields() const;                      // Of the head, and of what follows a body in chunks.
  async::Awaitable<bool> ReadSome(std::size_t bytes);
  async::Awaitable<void> Reject(Error error);
  async::Awaitable<void> Reject(const ErrorReply& reply);
  async::Awaitable<void> Linger();
  async::Awaitable<bool> Write(std::string bytes);
  async::Awaitable<void> WriteComment();
  void GiveUpAfter(int untaken_ms);  // A peer that takes nothing, or answers nothing, for so long.
  void Watch();
  void OnReadable();
  void ClientGone();
  void Close();
  std::string Framed(std::string_view data) const { return http_1_0_ ? std::string(data) : FormatChunk(data); }

  const SessionContext& context_;
  const std::string source_;
  std::string client_ = source_;  // Of the request that is read or answered: source_, or whom a trusted proxy names.
  const std::shared_ptr<void> slot_;
  Deadline deadline_;
  Deadline comment_;  // Set while a stream is open.
  // Strand only:
  HeldBody held_;
  Socket socket_;
  boost::asio::basic_waitable_timer<Mono, boost::asio::wait_traits<Mono>, Strand>
      write_ended_;  // Cancelled when a write ends, to wake who waits for it.
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<GrowingBody>> parser_;
  std::optional<boost::beast::http::fields> head_;  // Without what follows a body in chunks.
  std::shared_ptr<pipeline::Cancellation> cancellation_ = std::make_shared<pipeline::Cancellation>();
  Mono::time_point received_{};
  int untaken_ms_ = 0;  // As the kernel was told.
  bool idle_ = false;   // Waiting for a request's first byte.
  bool busy_ = false;   // A handler runs.
  bool watching_ = false;
  bool writing_ = false;
  bool keep_alive_ = true;
  bool draining_ = false;
  bool http_1_0_ = false;
  bool gone_ = false;
  bool answered_ = false;
};

}  // namespace tollgate::http_front
