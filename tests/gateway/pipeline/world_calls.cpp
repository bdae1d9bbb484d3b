#include <boost/asio/strand.hpp>
#include <catch2/catch_test_macros.hpp>

#include "gateway/identity/api_key.h"
#include "tests/gateway/pipeline/world.h"

namespace tollgate::test {

namespace v1 = tollgate::v1;

async::Awaitable<absl::Status> RecordingWriter::Begin(const pipeline::ReplyHead&) {
  ++begins;
  co_return absl::OkStatus();
}

async::Awaitable<absl::Status> RecordingWriter::Write(pipeline::OutputPiece piece) {
  if (writes >= fail_from_write) co_return base::Cancelled("gone");
  if (writes >= stuck_in_write) {
    auto wait = [this](auto done) {
      waiting_ = std::move(done);
      if (on_write) on_write(writes);
    };
    co_await async::Callback<bool>(wait);
    co_return base::Cancelled("cut");
  }
  if (piece.choice == 0) text += piece.text;
  if (piece.choice > 0) others[piece.choice] += piece.text;
  thought += piece.thought;
  calls.insert(calls.end(), piece.calls.begin(), piece.calls.end());
  logprobs.insert(logprobs.end(), piece.logprobs.begin(), piece.logprobs.end());
  const int write = writes++;
  if (on_write) on_write(write);
  co_return absl::OkStatus();
}

void RecordingWriter::Abort() {
  if (auto done = std::exchange(waiting_, nullptr)) done(false);
}

pipeline::Outcome<pipeline::Reply> World::ChatAs(const pipeline::Caller& caller, const v1::ChatRequest& request,
                                                 pipeline::StreamWriter* writer, std::shared_ptr<pipeline::Cancellation> cancellation) {
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

pipeline::Outcome<pipeline::EmbedAnswer> World::Embed(const v1::EmbedRequest& request,
                                                      std::shared_ptr<pipeline::Cancellation> cancellation) {
  if (!cancellation) cancellation = std::make_shared<pipeline::Cancellation>();
  const pipeline::Caller caller = NewCaller();
  pipe();
  auto call = [&] { return pipeline_->Embed(caller, request, cancellation); };
  return boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
}

pipeline::Outcome<pipeline::RerankAnswer> World::Rerank(const v1::RerankRequest& request,
                                                        std::shared_ptr<pipeline::Cancellation> cancellation) {
  if (!cancellation) cancellation = std::make_shared<pipeline::Cancellation>();
  const pipeline::Caller caller = NewCaller();
  pipe();
  auto call = [&] { return pipeline_->Rerank(caller, request, cancellation); };
  return boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
}

absl::StatusOr<v1::CountTokensReply> World::Count(const pipeline::Caller& caller, const std::string& model) {
  v1::CountTokensRequest request;
  request.set_model(model);
  *request.mutable_messages() = Ask("hello").messages();
  return CountAs(caller, request);
}

absl::StatusOr<v1::CountTokensReply> World::CountAs(const pipeline::Caller& caller, const v1::CountTokensRequest& request) {
  pipeline::Pipeline& pipeline = pipe();
  auto call = [&]() -> async::Awaitable<pipeline::Outcome<v1::CountTokensReply>> {
    co_return co_await pipeline.CountTokens(caller, request);
  };
  auto outcome = boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
  if (const auto* failure = std::get_if<pipeline::Failure>(&outcome)) return failure->status;
  return std::get<v1::CountTokensReply>(outcome);
}

std::string World::AddTeam(const std::string& name) {
  using directory::Table;
  directory::Row team = First(Table::kTeam), project = First(Table::kProject), key = First(Table::kKey);
  for (directory::Row* row : {&team, &project, &key}) row->id = base::Uuid::NewV7();
  team.Set("name", name);
  project.Set("team", team.id.ToString());
  const identity::ApiKey api_key = identity::MintApiKey(identity::Environment::kLive);
  key.Set("project", project.id.ToString());
  key.Set("public_id", api_key.public_id);
  key.Set("secret_hmac", base::Blob{std::string(base::View(identity::SecretHmac(kPepper, api_key.secret)))});
  for (directory::Row* row : {&team, &project, &key}) Add(std::move(*row));
  Publish();
  return identity::FormatApiKey(api_key);
}

v1::ListModelsReply World::List() {
  const pipeline::Caller caller = NewCaller();
  pipeline::Pipeline& pipeline = pipe();
  auto call = [&]() -> async::Awaitable<pipeline::Outcome<v1::ListModelsReply>> { co_return co_await pipeline.ListModels(caller); };
  auto outcome = boost::asio::co_spawn(boost::asio::make_strand(io_), call, boost::asio::use_future).get();
  REQUIRE(std::holds_alternative<v1::ListModelsReply>(outcome));
  return std::get<v1::ListModelsReply>(outcome);
}

std::future<pipeline::Outcome<pipeline::Reply>> World::Start(const v1::ChatRequest& request, pipeline::StreamWriter* writer,
                                                             std::shared_ptr<pipeline::Cancellation> cancellation) {
  pipe();
  return std::async(std::launch::async,
                    [this, request, writer, cancellation] { return ChatAs(NewCaller(), request, writer, cancellation); });
}

std::string HousePolicy(const std::string& rules) { return "version: 1\nname: house\nrules:\n" + rules; }

std::string CodeAndFish(const std::string& direction) {
  const std::string where = "where: {direction: " + direction + "}, ";
  return HousePolicy("  - {id: code, " + where + "detect: {regex: 'ZQ~[A-Z]{2,8}~[0-9]{2}'}, do: redact}\n  - {id: fish, " + where +
                     "detect: {keywords: [swordfish]}, do: block}\n");
}

}  // namespace tollgate::test
