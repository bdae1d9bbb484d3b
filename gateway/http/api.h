// The routes under /v1. Translates an Exchange to pipeline::Service and back.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <optional>
#include <string>

#include "base/clock.h"
#include "gateway/http/exchange.h"
#include "gateway/http/http_front.h"

namespace tollgate::http_front {

class Api {
 public:
  // `cpu`: where bodies above 64 KiB are parsed.
  Api(pipeline::Service& service, Probes probes, boost::asio::any_io_executor cpu, std::string system_fingerprint)
      : service_(service), probes_(std::move(probes)), cpu_(std::move(cpu)), system_fingerprint_(std::move(system_fingerprint)) {}

  // The key comes before the body: a stranger costs neither memory nor parsing, and learns nothing of what a request must look like.
  async::Awaitable<std::optional<pipeline::Tenant>> Admit(Exchange& exchange);
  async::Awaitable<void> Handle(Exchange& exchange);

 private:
  async::Awaitable<void> Chat(Exchange& exchange);
  async::Awaitable<void> Embed(Exchange& exchange);
  async::Awaitable<void> Rerank(Exchange& exchange);
  async::Awaitable<void> Tokenize(Exchange& exchange);
  async::Awaitable<void> ListModels(Exchange& exchange);
  async::Awaitable<void> GetModel(Exchange& exchange, std::string name);

  pipeline::Service& service_;
  const Probes probes_;
  const boost::asio::any_io_executor cpu_;
  const std::string system_fingerprint_;
};

}  // namespace tollgate::http_front
