#include "gateway/net/forwarded.h"

#include <vector>

#include <catch2/catch_test_macros.hpp>

using namespace tollgate;

TEST_CASE("The client is whom the last trusted proxy names, and nobody else's word counts") {
  const std::string texts[] = {"10.0.0.0/8", "fd00::/8"};
  const auto trusted = base::Networks::Parse(texts);
  REQUIRE(trusted.ok());
  struct Row {
    const char* peer;
    std::vector<std::string_view> forwarded;
    const char* client;
  };
  const Row rows[] = {
      {"10.0.0.1", {}, "10.0.0.1"},
      {"10.0.0.1", {""}, "10.0.0.1"},
      {"10.0.0.1", {"198.51.100.7"}, "198.51.100.7"},
      {"10.0.0.1", {"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},  // What stands left of it the client may have sent itself.
      {"10.0.0.1", {"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
      {"10.0.0.1", {"203.0.113.9, 198.51.100.7 , 10.0.0.2"}, "198.51.100.7"},  // A proxy before the proxy.
      {"10.0.0.1", {"198.51.100.7", "10.0.0.3,10.0.0.2"}, "198.51.100.7"},
      {"10.0.0.1", {"10.0.0.4, 10.0.0.3"}, "10.0.0.4"},  // A client within.
      {"10.0.0.1", {"198.51.100.7:5123"}, "198.51.100.7"},
      {"fd00::1", {"[2001:DB8::7]:5123"}, "2001:db8::7"},
      {"fd00::1", {"2001:db8::7"}, "2001:db8::7"},
      {"10.0.0.1", {"::ffff:198.51.100.7"}, "198.51.100.7"},
      {"10.0.0.1", {"198.51.100.7, unknown"}, "10.0.0.1"},
      {"10.0.0.1", {"198.51.100.7,, 10.0.0.2"}, "10.0.0.2"},
      {"10.0.0.1", {"[2001:db8::7"}, "10.0.0.1"},
      {"198.51.100.7", {"203.0.113.9"}, "198.51.100.7"},  // Nobody who is trusted.
      {"", {"203.0.113.9"}, ""},
  };
  for (const Row& row : rows) {
    INFO(row.peer << " of " << row.client);
    CHECK(net::ClientOf(row.peer, row.forwarded, *trusted) == row.client);
    CHECK(net::ClientOf(row.peer, row.forwarded, base::Networks()) == row.peer);
  }
}
