// What reading schemas and grammars costs, and on whose account and thread it is done.
#include <catch2/catch_test_macros.hpp>

#include <boost/asio/executor_work_guard.hpp>

#include <fmt/format.h>

#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using test::ReasonOf;

namespace {

// A world whose models hold output to forms, and an executor for large work that is one thread of the test's.
struct FormWorld {
  FormWorld() : guard(boost::asio::make_work_guard(cpu)), thread([this] { cpu.run(); }) {
    pool.inner = &world.pool();
    pool.forms = true;
    pool.each = [](std::size_t, inference::SequenceRequest& one) { one.grammar.clear(); };
    world.pool_between = &pool;
    world.cpu = cpu.get_executor();
  }
  ~FormWorld() {
    guard.reset();
    thread.join();
  }
  boost::asio::io_context cpu;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard;
  std::thread thread;
  test::WatchedPool pool;
  test::World world;
};

std::string ParamOf(const pipeline::Outcome<pipeline::Reply>& outcome) {
  return base::DetailOf(std::get<Failure>(outcome).status).value_or(base::ErrorDetail()).param;
}

std::string EnumOf(int values) {
  std::string schema = R"({"enum":[)";
  for (int i = 0; i < values; ++i) schema += fmt::format(R"({}"value number {:04}")", i == 0 ? "" : ",", i);
  return schema + "]}";
}

TEST_CASE("A form that no output can be held to counts as a request, and nobody over their rate has one read") {
  struct Row {
    const char* param;
    void (*ask)(v1::ChatRequest& request);
  };
  const Row rows[] = {
      {"response_format",
       [](v1::ChatRequest& request) {
         request.mutable_output_form()->set_json_schema(R"({"type":"string","pattern":"x"})");
         request.mutable_output_form()->set_strict(true);
       }},
      {"grammar", [](v1::ChatRequest& request) { request.mutable_output_form()->set_grammar("root ::= root"); }},
  };
  for (const Row& row : rows) {
    INFO(row.param);
    FormWorld its;
    its.world.SetRoles("member,grammar_author");
    its.world.SetQuota("requests", "minute", 1);
    v1::ChatRequest request = its.world.Ask("hello");
    row.ask(request);
    CHECK(ParamOf(its.world.Chat(request)) == row.param);
    CHECK(ReasonOf(std::get<Failure>(its.world.Chat(request)).status) == "RATE_LIMITED");
    CHECK(its.world.Kinds().empty());
    CHECK(its.pool.Take().empty());
  }
}

TEST_CASE("A long grammar is read on the executor for large work, for one reply and for several") {
  for (const int choices : {1, 2}) {
    for (const bool is_long : {false, true}) {
      FormWorld its;
      v1::ChatRequest request = its.world.Ask("hello");
      request.set_choices(choices);
      request.mutable_output_form()->set_json_schema(EnumOf(is_long ? 400 : 2));
      CHECK(test::ReplyOf(its.world.Chat(request)).end.usage().output() > 0);
      const std::vector<test::WatchedWork> work = its.pool.Take();
      REQUIRE(work.size() == 1);
      CHECK(work[0].grammar.find("value number 0001") != std::string::npos);
      CHECK((work[0].thread == its.thread.get_id()) == is_long);
    }
  }
}

}  // namespace
