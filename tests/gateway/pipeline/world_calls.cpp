#include "tests/gateway/pipeline/world.h"

namespace tollgate::test {

namespace v1 = tollgate::v1;

pipeline::Outcome<pipeline::Reply> World::ChatAs(const pipeline::Caller& caller, const v1::ChatRequest& request, pipeline::StreamWriter* writer,
                                                 std::shared_ptr<pipeline::Cancellation> cancellation) {
  if (!cancellation) cancellation = std::make_shared<pipeline::Cancellation>();
  pipeline::Pipeline& pipeline = pipe();
  auto call = [&]() -> async::Awaitable<pipeline::Outcome<pipeline::Reply>> {
    co_return co_await pipeline.Chat(caller, request, writer, cancellation);
  };
  return boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
}

pipeline::Outcome<pipeline::Reply> World::Chat(const v1::ChatRequest& request, pipeline::StreamWriter* writer) {
  return ChatAs(NewCaller(), request, writer);
}

pipeline::Outcome<pipeline::EmbedAnswer> World::Embed(const v1::EmbedRequest& request, std::shared_ptr<pipeline::Cancellation> cancellation) {
  if (!cancellation) cancellation = std::make_shared<pipeline::Cancellation>();
  const pipeline::Caller caller = NewCaller();
  pipe();
  auto call = [&] { return pipeline_->Embed(caller, request, cancellation); };
  return boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
}

pipeline::Outcome<pipeline::RerankAnswer> World::Rerank(const v1::RerankRequest& request, std::shared_ptr<pipeline::Cancellation> cancellation) {
  if (!cancellation) cancellation = std::make_shared<pipeline::Cancellation>();
  const pipeline::Caller caller = NewCaller();
  pipe();
  auto call = [&] { return pipeline_->Rerank(caller, request, cancellation); };
  return boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
}

std::future<pipeline::Outcome<pipeline::Reply>> World::Start(const v1::ChatRequest& request, pipeline::StreamWriter* writer,
                                                             std::shared_ptr<pipeline::Cancellation> cancellation) {
  pipe();
  return std::async(std::launch::async, [this, request, writer, cancellation] { return ChatAs(NewCaller(), request, writer, cancellation); });
}

}  // namespace tollgate::test
