#include <catch2/catch_test_macros.hpp>

#include <thread>

#include "audit/state_dir.h"
#include "base/encoding.h"
#include "tests/support/temp_dir.h"

namespace tollgate::audit {
namespace {

TEST_CASE("A state directory has one holder, and remembers instance, log and size") {
  test::TempDir dir;
  base::InstanceId instance;
  {
    auto state = StateDir::Open(dir.File("state"));
    REQUIRE(state.ok());
    instance = (*state)->instance();
    CHECK_FALSE((*state)->log_id().has_value());
    REQUIRE((*state)->SetLog(7, 100).ok());
    (*state)->Acknowledged(105, base::Sha256("105"));
    (*state)->Acknowledged(1'000'000'000'000, base::Sha256("more"));
    CHECK((*state)->accepted_us() == 0);
    CHECK(absl::IsFailedPrecondition(StateDir::Open(dir.File("state")).status()));
  }
  const auto again = StateDir::Open(dir.File("state"));
  REQUIRE(again.ok());
  CHECK((*again)->instance() == instance);
  CHECK((*again)->log_id() == 7);
  CHECK((*again)->acknowledged() == 1'000'000'000'000);
  CHECK((*again)->leaf() == base::Sha256("more"));
  CHECK((*again)->since() == 100);
}

TEST_CASE("A state directory remembers under which epoch it was written and which accepted loss it knew, and one from before neither") {
  test::TempDir dir;
  {
    auto state = StateDir::Open(dir.path());
    REQUIRE(state.ok());
    REQUIRE((*state)->SetLog(7, 100, 42, 1'700'000'000'000'000).ok());
    (*state)->Acknowledged(105, std::nullopt);
  }
  {
    const auto again = StateDir::Open(dir.path());
    CHECK((*again)->epoch() == 42);
    CHECK((*again)->accepted_us() == 1'700'000'000'000'000);
    CHECK((*again)->written_day() > 20'000);
    CHECK_FALSE((*again)->leaf().has_value());
  }
  REQUIRE(base::WriteFileAtomically(dir.File("journal.state"),
                                    "tollgate-journal-1 0190a1b2-0000-7000-8000-000000000001     1                   5\n", 0600)
              .ok());
  const auto before = StateDir::Open(dir.path());
  REQUIRE(before.ok());
  CHECK((*before)->acknowledged() == 5);
  CHECK((*before)->epoch() == 0);
  CHECK((*before)->accepted_us() == 0);
  CHECK_FALSE((*before)->leaf().has_value());
  CHECK((*before)->since() == 5);
}

TEST_CASE("What was acknowledged is on disk a moment later, and no call waits for that") {
  test::TempDir dir;
  const auto state = StateDir::Open(dir.path());
  REQUIRE(state.ok());
  REQUIRE((*state)->SetLog(7, 100).ok());
  (*state)->KeepDurable(std::chrono::milliseconds(5));
  for (const std::int64_t size : {105, 106, 200}) {
    (*state)->Acknowledged(size, std::nullopt);
    while ((*state)->durable() != size) std::this_thread::yield();
  }
}

TEST_CASE("A damaged state file refuses the start and names itself") {
  for (const char* text :
       {"", "rubbish", "tollgate-journal-1 not-a-uuid 1 5", "tollgate-journal-1 0190a1b2-0000-7000-8000-000000000001 0 5",
        "tollgate-journal-1 0190a1b2-0000-7000-8000-000000000001 1 -5",
        "tollgate-journal-1 0190a1b2-0000-7000-8000-000000000001 1 5 2 0 12ab 3",
        "tollgate-journal-1 0190a1b2-0000-7000-8000-000000000001 1 5 2 0 -"}) {
    INFO(text);
    test::TempDir dir;
    REQUIRE(base::WriteFileAtomically(dir.File("journal.state"), text, 0600).ok());
    const auto state = StateDir::Open(dir.path());
    REQUIRE(absl::IsFailedPrecondition(state.status()));
    CHECK(base::Message(state.status()).find("journal.state") != std::string::npos);
  }
}

}  // namespace
}  // namespace tollgate::audit
