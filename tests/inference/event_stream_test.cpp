#include "inference/engines/event_stream.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/random.h"

namespace tollgate::inference {
namespace {

using Events = std::vector<std::string>;

TEST_CASE("Events are what stands between empty lines; comments and other fields are passed over") {
  struct Row {
    std::string bytes;
    Events events;
    bool clean;
  };
  const Row rows[] = {
      {"data: a\n\n", {"a"}, true},
      {"data:a\r\n\r\ndata: b\n\n", {"a", "b"}, true},
      {": ping\n\ndata: a\n\n", {"a"}, true},
      {"event: x\nid: 7\nretry: 5\ndata: a\n\n", {"a"}, true},
      {"data: a\ndata: b\n\n", {"a\nb"}, true},
      {"data:\n\n", {""}, true},
      {"\n\n\n", {}, true},
      {"data: a\n\ndata: {\"text\":\"cut in the mid", {"a"}, false},
      {"data: a\n\ndata: b\n", {"a"}, false},
  };
  for (const Row& row : rows) {
    INFO(row.bytes);
    EventStream stream;
    Events events;
    CHECK(stream.Push(row.bytes, events));
    CHECK(events == row.events);
    CHECK(stream.clean() == row.clean);
  }
}

TEST_CASE("Events do not depend on how their bytes were cut") {
  std::mt19937_64 random(test::Seed());
  std::string bytes;
  Events expected;
  for (int i = 0; i < 200; ++i) {
    std::string data(random() % 40, 'x');
    bytes += random() % 3 == 0 ? ": comment\n" : "";
    bytes += "data: " + data + (random() % 2 == 0 ? "\r\n\r\n" : "\n\n");
    expected.push_back(std::move(data));
  }
  for (int round = 0; round < 50; ++round) {
    EventStream stream;
    Events events;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 30, bytes.size() - at);
      REQUIRE(stream.Push(std::string_view(bytes).substr(at, size), events));
      at += size;
    }
    REQUIRE(events == expected);
  }
}

TEST_CASE("A line or an event of more than a mebibyte ends the reading, in bounded memory") {
  EventStream line;
  Events events;
  bool more = true;
  int pushed = 0;
  while (more && pushed < 100) {
    more = line.Push(std::string(100'000, 'x'), events);
    ++pushed;
  }
  CHECK_FALSE(more);
  CHECK(pushed == 11);

  EventStream longer(200'000);
  CHECK(longer.Push("data: " + std::string(150'000, 'x') + "\n\n", events));
  CHECK(events.size() == 1);
  CHECK_FALSE(longer.Push("data: " + std::string(200'000, 'x') + "\n\n", events));
  events.clear();

  EventStream lines;
  more = true;
  for (pushed = 0; more && pushed < 100; ++pushed) more = lines.Push("data: " + std::string(100'000, 'x') + "\n", events);
  CHECK_FALSE(more);
  CHECK(events.empty());
}

}  // namespace
}  // namespace tollgate::inference
