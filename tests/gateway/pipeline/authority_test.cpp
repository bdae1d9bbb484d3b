// Authority that ends (a key, a team, a model, the directory itself) while a request, or what it brought forth, is on its way to the
// record.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <functional>
#include <thread>

#include "base/error_detail.h"
#include "tests/gateway/pipeline/watched_pool.h"
#include "tests/gateway/pipeline/world.h"

using namespace tollgate;
namespace v1 = tollgate::v1;
using pipeline::Failure;
using test::ReasonOf;

namespace {

// Finds nothing in anything, and takes authority away as it says so.
class LastAnswer final : public pipeline::Answerers {
 public:
  explicit LastAnswer(std::function<void()> end) : end_(std::move(end)) {}
  void Ask(pipeline::QuestionAsk ask, std::function<void(pipeline::QuestionAnswer)> done) override {
    pipeline::QuestionAnswer answer;
    answer.answer.id = ask.question.id;
    end_();
    done(std::move(answer));
  }

 private:
  std::function<void()> end_;
};

absl::Status NobodyKnows() { return base::WithDetail(base::Unavailable("last confirmed long ago"), {.reason = "DIRECTORY_STALE"}); }

}  // namespace

TEST_CASE("Authority that ends while a request is on its way is seen before anything is routed") {
  struct Row {
    const char* name;
    std::function<void(test::World&)> end;
    const char* reason;
    const char* kinds = "REQUEST FINAL";
  };
  const Row rows[] = {{"the key is revoked", [](auto& world) { world.RevokeKey(); }, "KEY_REVOKED"},
                      {"the model is stopped", [](auto& world) { world.StopModel(); }, "EMERGENCY_STOP"},
                      {"the team is blocked", [](auto& world) { world.BlockTeam(); }, "TEAM_BLOCKED"},
                      {"nobody can say", [](auto& world) { world.directory.Set(NobodyKnows()); }, "DIRECTORY_STALE", "REQUEST ABORT"}};
  for (const Row& row : rows) {
    DYNAMIC_SECTION(row.name << ", before it is on record") {
      test::World world(
          "version: 1\nname: house\nrules:\n"
          "  - {id: few, detect: {request: any}, do: {rate_limit: {requests: 9, per: hour, by: key}}}\n");
      world.gates.on_pass = [&] { row.end(world); };
      CHECK(ReasonOf(std::get<Failure>(world.Chat(world.Ask("hello"))).status) == row.reason);
      CHECK(world.Kinds() == "");
      world.CheckBooks();
    }
    DYNAMIC_SECTION(row.name << ", while its record is on its way") {
      test::World world;
      test::WatchedPool watched;
      watched.inner = &world.pool();
      world.pool_between = &watched;
      world.journal.Hold();
      auto running = world.Start(world.Ask("!say hello"), nullptr, std::make_shared<pipeline::Cancellation>());
      while (world.journal.waiting() == 0) std::this_thread::yield();
      row.end(world);
      world.journal.Release();
      CHECK(ReasonOf(std::get<Failure>(running.get()).status) == row.reason);
      CHECK(world.Kinds() == row.kinds);
      CHECK(world.journal.entries()[1].record.end().reason() == row.reason);
      CHECK(world.journal.entries()[1].record.end().tokens().output() == 0);
      CHECK(watched.Take().empty());
      world.CheckBooks();
    }
    DYNAMIC_SECTION(row.name << ", with the last answer about its prompt") {
      test::World world("version: 1\nname: house\nrules:\n  - {id: guard, where: {direction: input}, detect: {external: g}, do: block}\n");
      LastAnswer last([&] { row.end(world); });
      world.answerers = &last;
      test::WatchedPool watched;
      watched.inner = &world.pool();
      world.pool_between = &watched;
      CHECK(ReasonOf(std::get<Failure>(world.Chat(world.Ask("!say hello"))).status) == row.reason);
      CHECK(watched.Take().empty());
      CHECK(world.Kinds() == row.kinds);
      world.CheckBooks();
    }
    DYNAMIC_SECTION(row.name << ", while it waits for tokens of a model that cannot go on where it stopped") {
      test::World world;
      world.SetQuota("tokens", "month", 200);
      test::WatchedPool watched;
      watched.inner = &world.pool();
      watched.resumes = false;
      world.pool_between = &watched;
      world.journal.SetFault([&](const audit::Entry& entry) {
        if (entry.record.kind() == v1::RECORD_KIND_REQUEST) world.leases.before = [&] { row.end(world); };
        return absl::OkStatus();
      });
      v1::ChatRequest ask = world.Ask("!say hello");
      ask.set_max_tokens(500);
      CHECK(ReasonOf(std::get<Failure>(world.Chat(ask)).status) == row.reason);
      CHECK(watched.Take().empty());
      CHECK(world.Kinds() == row.kinds);
      world.CheckBooks();
    }
    DYNAMIC_SECTION(row.name << ", while what was decoded is on its way to the record: nothing of it leaves") {
      const bool stream = GENERATE(false, true);
      test::World world;
      world.options.authority_check = std::chrono::milliseconds(1);
      world.journal.Hold();
      test::RecordingWriter writer;
      auto running =
          world.Start(world.Ask("!pace_ms 1\n!tokens 40"), stream ? &writer : nullptr, std::make_shared<pipeline::Cancellation>());
      while (world.journal.waiting() == 0) std::this_thread::yield();
      world.journal.Release(1);  // The REQUEST.
      while (world.journal.waiting() == 0) std::this_thread::yield();
      row.end(world);
      const auto since = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - since < 2 * world.options.authority_check) std::this_thread::yield();
      world.journal.Release();
      CHECK(ReasonOf(std::get<Failure>(running.get()).status) == row.reason);
      CHECK(writer.text.empty());
      world.CheckBooks();
    }
  }
}
