// Callbacks on a strand a connection: no coroutines, no limits, no deadlines.
#include "tests/bench/bare_http.h"

#include <memory>
#include <thread>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

namespace tollgate::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

std::size_t SizeOf(const http::response<http::string_body>& response) {
  std::size_t size = 0;
  http::response<http::string_body> copy = response;
  http::response_serializer<http::string_body> serializer(copy);
  serializer.split(true);
  error_code error;
  while (!serializer.is_header_done()) {
    serializer.next(error, [&](error_code&, const auto& buffers) {
      const auto bytes = asio::buffer_size(buffers);
      size += bytes;
      serializer.consume(bytes);
    });
  }
  return size;
}

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(tcp::socket socket, const HttpAnswers& answers) : socket_(std::move(socket)), answers_(answers) {
    socket_.set_option(tcp::no_delay(true));
    plain_.result(http::status::ok);
    plain_.set(http::field::content_type, "application/json");
    plain_.body() = answers.body;
    plain_.prepare_payload();
    Pad(plain_, answers.head_bytes);
    stream_.result(http::status::ok);
    stream_.set(http::field::content_type, "text/event-stream");
    stream_.chunked(true);
    Pad(stream_, answers.sse_head_bytes);
  }

  void Read() {
    request_ = {};
    http::async_read(socket_, buffer_, request_, [self = shared_from_this()](error_code error, std::size_t) {
      if (error) return;
      if (self->request_.body().find("\"stream\":true") != std::string::npos) return self->WriteStream();
      http::async_write(self->socket_, self->plain_, [self](error_code failed, std::size_t) {
        if (!failed) self->Read();
      });
    });
  }

 private:
  static void Pad(http::response<http::string_body>& response, std::size_t bytes) {
    const std::size_t has = SizeOf(response) + sizeof "x-filler: \r\n" - 1;
    if (has < bytes) response.set("x-filler", std::string(bytes - has, 'x'));
  }

  void WriteStream() {
    serializer_ = std::make_unique<http::response_serializer<http::string_body>>(stream_);
    http::async_write_header(socket_, *serializer_, [self = shared_from_this()](error_code error, std::size_t) {
      if (!error) self->WriteChunk(0);
    });
  }

  void WriteChunk(std::size_t number) {
    const auto next = [self = shared_from_this(), number](error_code error, std::size_t) {
      if (error) return;
      number == self->answers_.chunks.size() ? self->Read() : self->WriteChunk(number + 1);
    };
    if (number == answers_.chunks.size()) return asio::async_write(socket_, http::make_chunk_last(), next);
    asio::async_write(socket_, http::make_chunk(asio::buffer(answers_.chunks[number])), next);
  }

  tcp::socket socket_;
  const HttpAnswers& answers_;
  boost::beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response<http::string_body> plain_, stream_;
  std::unique_ptr<http::response_serializer<http::string_body>> serializer_;
};

void Accept(asio::io_context& io, tcp::acceptor& acceptor, const HttpAnswers& answers) {
  acceptor.async_accept(asio::make_strand(io), [&](error_code error, tcp::socket socket) {
    if (!error) std::make_shared<Session>(std::move(socket), answers)->Read();
    Accept(io, acceptor, answers);
  });
}

}  // namespace

void ServeBareHttp(const HttpAnswers& answers, const std::function<void(int port)>& ready) {
  asio::io_context io(2);
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  ready(acceptor.local_endpoint().port());
  Accept(io, acceptor, answers);
  std::jthread second([&] { io.run(); });
  io.run();
}

}  // namespace tollgate::bench
